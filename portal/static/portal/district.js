// A link's secret stands behind the #, which no server sees. It goes into the form and out of the address at once.
const takeSecret = () => {
  const form = document.getElementById("enter");
  const secret = window.location.hash.slice(1);
  if (!form || !secret) { return; }
  form.elements.secret.value = secret;
  window.history.replaceState(null, "", window.location.pathname);
  for (const shown of form.querySelectorAll("[data-with-link]")) { shown.hidden = false; }
  for (const hidden of form.querySelectorAll("[data-without-link]")) { hidden.hidden = true; }
};
document.addEventListener("DOMContentLoaded", takeSecret);
window.addEventListener("hashchange", takeSecret);  // a link that is pasted into a page that is open already
