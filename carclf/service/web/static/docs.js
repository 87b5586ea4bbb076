"use strict";

// Without Swagger UI's files the link in the page stays.
if (window.SwaggerUIBundle) {
  window.SwaggerUIBundle({ url: "openapi.json", dom_id: "#api", deepLinking: true, defaultModelsExpandDepth: 0 });
}
