// The API reference: Swagger UI with the OpenAPI document.

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  supportedSubmitMethods: [], // use the page at / to try the service
  validatorUrl: null, // it is on another host
});
