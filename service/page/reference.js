// The reference of all routes: Swagger UI over the OpenAPI document. Requests that are tried out go to this service.

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  validatorUrl: null, // another host
});
