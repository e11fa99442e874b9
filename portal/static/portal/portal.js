// Times are told in the reader's zone: the pages learn it from this cookie.
document.cookie = `zone=${encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone)}; path=/; max-age=31536000; samesite=lax`;

// The button names the file that was chosen or dropped, and a bar shows how far it is. Everything works without this.
document.addEventListener("DOMContentLoaded", () => {
  for (const form of document.querySelectorAll("form.upload")) {
    const field = form.querySelector("input[type=file]");
    const button = form.querySelector("button.primary") ?? form.querySelector("button");
    const trial = form.querySelector("button[name=dry_run]");
    const bar = form.querySelector("progress");
    const label = button.textContent;
    const named = () => {
      button.disabled = !field.files.length;
      if (trial) { trial.disabled = button.disabled; }
      button.textContent = field.files.length ? `Upload ${field.files[0].name}` : label;
    };
    field.addEventListener("change", named);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const data = new FormData(form);
      if (event.submitter?.name) { data.append(event.submitter.name, event.submitter.value); }
      button.disabled = true;
      if (trial) { trial.disabled = true; }
      bar.hidden = false;
      const request = new XMLHttpRequest();
      request.open("POST", form.action);
      // Told where to go instead of being sent there: what is said on that page must not be said to this request.
      request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
      request.upload.onprogress = (e) => { if (e.lengthComputable) { bar.max = e.total; bar.value = e.loaded; } };
      const failed = (words) => {
        bar.hidden = true;
        button.disabled = false;
        if (trial) { trial.disabled = false; }
        button.textContent = words;
      };
      request.onload = () => {
        if (request.status < 400) {
          const next = request.getResponseHeader("X-Goes-To");
          if (next && next.split("#")[0] !== window.location.pathname + window.location.search) window.location.assign(next);
          else window.location.reload();
          return;
        }
        failed(`The portal did not take it (${request.status}): nothing was stored. Reload the page and try again`);
      };
      request.onerror = () => { failed("The line broke: nothing was stored. Try again"); };
      request.send(data);
    });
    named();
  }
});

// A field that matters only with certain answers to another one (data-only-with="login=key") is shown only with them.
document.addEventListener("DOMContentLoaded", () => {
  for (const field of document.querySelectorAll("[data-only-with]")) {
    const [name, answers] = field.dataset.onlyWith.split("=");
    const other = field.form.elements[name];
    const row = field.closest(".form-row");
    if (!other || !row) continue;
    const show = () => { row.hidden = !answers.split(",").includes(other.value) && !row.querySelector(".errorlist"); };
    other.addEventListener("change", show);
    show();
  }
});

// Django's two-box chooser names its question marks but gives them no role, so that no reader may say the name.
window.addEventListener("load", () => setTimeout(() => {
  for (const mark of document.querySelectorAll("span.help-tooltip[aria-label]:not([role])")) { mark.setAttribute("role", "img"); }
}));

// On a phone the row of rooms is longer than the screen: the one where we are is brought into sight.
document.addEventListener("DOMContentLoaded", () => {
  const room = document.querySelector(".rooms [aria-current]");
  if (room) room.parentElement.scrollLeft = room.offsetLeft - 24;
});

// On a phone a row of a list stands as a card: each cell then says what its column is called.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("#result_list")) {
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim().toLowerCase());
    for (const cell of table.querySelectorAll("tbody td")) {
      if (names[cell.cellIndex] && (cell.textContent.trim() || cell.firstElementChild)) { cell.dataset.label = names[cell.cellIndex]; }
    }
  }
});
