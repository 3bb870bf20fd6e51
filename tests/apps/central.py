"""An app made with the library whose author reported #1778: WITH="ocpp-asgi==0.4.0 jsonschema<4.18"."""

from ocpp_asgi.app import ASGIApplication

app = ASGIApplication()
