"""The OpenAPI document of this gateway: data, one module for each surface. Knows neither Flask nor settings."""

from copilotapi.openapi.surfaces import document, operations

__all__ = ["document", "operations"]
