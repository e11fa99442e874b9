// A check goes up with a bar, and its result comes into this page, where the chosen files stay at hand for what can be
// downloaded of them. Everything works without this.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("check");
  const field = form.elements.files;
  const button = form.querySelector("button[value=page]");
  const bar = form.querySelector("progress");
  const doing = document.getElementById("doing");
  const result = document.getElementById("result");
  const show = (...parts) => {
    bar.hidden = true;
    button.disabled = false;
    doing.textContent = "";
    result.replaceChildren(...parts);
    document.getElementById("verdict")?.focus();
  };
  field.addEventListener("change", () => result.replaceChildren());
  const send = (answer, type, said) => new Promise((done, broken) => {
    button.disabled = true;
    bar.hidden = false;
    doing.textContent = "Sending";
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.responseType = type;
    request.upload.onprogress = (e) => { if (e.lengthComputable) { bar.max = e.total; bar.value = e.loaded; } };
    request.upload.onload = () => { bar.removeAttribute("value"); doing.textContent = said; };
    request.onload = () => done(request);
    request.onerror = broken;
    const data = new FormData(form);
    data.append("answer", answer);
    request.send(data);
  });
  const broken = () => { show(); doing.textContent = "The line broke. Nothing was stored; check again."; };
  const page = (document) => {
    const found = document?.getElementById("result");
    if (found) { show(...found.childNodes); } else { window.location.assign(form.action); }
  };
  const keep = async (request) => {  // what was asked for is a file; a page says why there is none
    const name = /filename="([^"]+)"/.exec(request.getResponseHeader("Content-Disposition") ?? "");
    if (!name) { page(new DOMParser().parseFromString(await request.response.text(), "text/html")); return; }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(request.response);
    link.download = name[1];
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    bar.hidden = true;
    button.disabled = false;
    doing.textContent = `${name[1]} is in your downloads.`;
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter && event.submitter !== button) {
      send(event.submitter.value, "blob", "Preparing your download").then(keep, broken);
      return;
    }
    result.replaceChildren();
    send(button.value, "document", "Checking every cell and reference").then((request) => page(request.response), broken);
  });
});
