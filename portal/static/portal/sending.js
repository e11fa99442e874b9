// Files go up as one stream of bytes, in pieces. The server says where the next piece begins, so it goes on where it
// stopped: after a broken line by itself, after a reload when the same files are chosen again. Without this the form works.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("send");
  if (!form) { return; }
  const field = form.elements.files;
  const button = form.querySelector("button");
  const bar = form.querySelector("progress");
  const told = document.getElementById("told");
  const largest = Number(form.dataset.piece);
  const smallest = Math.min(largest, 256 * 1024);
  for (const shown of form.querySelectorAll("[data-with-script]")) { shown.hidden = false; }

  class Over extends Error {}

  // Plain HTTP that is not of this machine has no hashes: then the bytes travel without one.
  const hash = async (blob) =>
    window.crypto.subtle ? new Uint8Array(await window.crypto.subtle.digest("SHA-256", await blob.arrayBuffer())) : null;

  const ask = async (method, address, body, headers) => {
    const answer = await fetch(address, {
      method, body, headers: { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value, ...headers },
    });
    if (answer.redirected) { throw new Over("You are not let in any more. Ask for a new link, then choose the same files: it goes on where it stopped."); }
    if (!(answer.headers.get("Content-Type") || "").startsWith("application/json")) { throw new Error("no answer of ours"); }
    const facts = await answer.json();
    if (answer.status === 413 || answer.status === 422) { throw new Over(`${facts.words} Nothing was stored. ${facts.code}`); }
    return facts;
  };

  const announced = async (files) => JSON.stringify({
    files: await Promise.all(files.map(async (file) => ({
      name: file.name, size: file.size, modified: file.lastModified, head: String(await hash(file.slice(0, 65536))),
    }))),
  });

  const begin = async (about) => ask("POST", form.dataset.begin, about, { "Content-Type": "application/json" });

  // A second or two for a piece, so that a poor line loses little and a good one is used.
  const send = async (files) => {
    const whole = new Blob(files);
    const about = await announced(files);
    let at = null;
    let length = smallest;
    let broken = 0;
    for (;;) {
      try {
        at = at || await begin(about);
        if (at.receipt) { window.location.assign(at.receipt); return; }
        bar.value = 100 * at.received / whole.size;
        told.textContent = at.received < whole.size ? `${Math.floor(bar.value)} % of ${files.length === 1 ? files[0].name : `${files.length} files`} is here.` : "All of it is here; it is being stored.";
        const piece = whole.slice(at.received, at.received + length);
        const digest = await hash(piece);
        const headers = { "Content-Type": "application/octet-stream" };
        if (digest) { headers["Content-Digest"] = `sha-256=:${btoa(String.fromCharCode(...digest))}:`; }
        const started = performance.now();
        at = await ask("PUT", at.next, piece, headers);
        const took = performance.now() - started;
        if (took < 1000) { length = Math.min(largest, 2 * length); }
        if (took > 4000) { length = Math.max(smallest, length / 2); }
        if (at.code && at.code !== "SEND-OFFSET") { throw new Error(at.code); }
        broken = 0;
      } catch (fault) {
        if (fault instanceof Over) { throw fault; }
        if (fault instanceof DOMException && fault.name === "NotReadableError") { throw new Over("The file changed while it went up. Choose it again."); }
        at = null;
        length = smallest;
        broken += 1;
        told.textContent = `The line is broken. It goes on by itself; what is here stays here.`;
        await new Promise((go) => { setTimeout(go, Math.min(15000, 500 * 2 ** broken)); window.addEventListener("online", go, { once: true }); });
      }
    }
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    form.querySelector(".going-up").hidden = false;
    try {
      await send(Array.from(field.files));
    } catch (fault) {
      told.textContent = fault.message;
      form.querySelector(".going-up").hidden = true;
      button.disabled = false;
    }
  });
});
