// The reference of all routes: Swagger UI over the OpenAPI document.

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  supportedSubmitMethods: [], // the page at / is for trying
  validatorUrl: null, // another host
});
