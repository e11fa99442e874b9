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
  form.addEventListener("submit", (event) => {
    if (event.submitter && event.submitter !== button) { return; }  // the answer is a file
    event.preventDefault();
    button.disabled = true;
    bar.hidden = false;
    result.replaceChildren();
    doing.textContent = "Sending";
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.responseType = "document";
    request.upload.onprogress = (e) => { if (e.lengthComputable) { bar.max = e.total; bar.value = e.loaded; } };
    request.upload.onload = () => { bar.removeAttribute("value"); doing.textContent = "Checking every cell and reference"; };
    request.onload = () => {
      const found = request.response?.getElementById("result");
      if (found) { show(...found.childNodes); } else { window.location.assign(form.action); }
    };
    request.onerror = () => { show(); doing.textContent = "The line broke. Nothing was stored; check again."; };
    const data = new FormData(form);
    data.append("answer", button.value);
    request.send(data);
  });
});
