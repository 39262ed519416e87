// The API reference: Swagger UI with the OpenAPI document. Requests that are tried out go to this service.

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  validatorUrl: null, // the validator is on another host
});

// Swagger UI has a dark theme, for a class of the root element.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();
