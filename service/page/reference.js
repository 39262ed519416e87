// The API reference: Swagger UI with the OpenAPI document. Requests that are tried out go to this service.

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  validatorUrl: null, // the validator is on another host
});
