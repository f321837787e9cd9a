"""An OpenID provider of this machine, with TLS by a certificate authority of its own."""

import datetime as dt
import json
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.support.certificates import Authority

AUDIENCE = "tallystick-tests"


@cache
def _rsa(number: int) -> rsa.RSAPrivateKey:
    """The same for every issuer: to make one takes long."""
    return rsa.generate_private_key(65537, 2048)


class Issuer:
    """Answers its configuration and its keys, and signs tokens. ``asked`` counts the requests by path."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        self.ca = authority.ca
        pem = folder / "issuer.pem"
        pem.write_bytes(b"".join(authority.certify("issuer")))
        self.keys: dict[str, tuple[str, Any]] = {}
        self._made = 0
        self.add("one", "RS256")
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, tuple[int, Mapping[str, str], bytes]] = {}
        """What is answered in place of the truth."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked[self.path] += 1
                status, headers, body = issuer.answers.get(self.path) or issuer.answer(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def add(self, kid: str, algorithm: str) -> None:
        made: dict[str, Any] = {
            "RS256": lambda: _rsa(self._made),
            "PS256": lambda: _rsa(self._made),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }
        self.keys[kid] = (algorithm, made[algorithm]())
        self._made += 1

    def answer(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        if path == "/.well-known/openid-configuration":
            return 200, {}, json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        if path == "/keys":
            return 200, {}, json.dumps({"keys": [self.jwk(kid) for kid in self.keys]}).encode()
        return 404, {}, b""

    def jwk(self, kid: str) -> dict[str, Any]:
        algorithm, key = self.keys[kid]
        found = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        return {**found, "kid": kid, "use": "sig", "alg": algorithm}

    def token(self, kid: str = "one", headers: Mapping[str, Any] | None = None, **claims: Any) -> str:
        algorithm, key = self.keys[kid]
        now = int(dt.datetime.now(dt.UTC).timestamp())
        said = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600, **claims}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, key, algorithm, {"kid": kid, **(headers or {})})

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
