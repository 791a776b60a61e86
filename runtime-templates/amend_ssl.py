

# Added by coil. OpenSSL looks for certificates where it was built to find them, and on another system there are
# none: then the host's are taken from where it keeps them, and where it has none, those that came along.
# SSL_CERT_FILE and SSL_CERT_DIR mean what they always do.
def _coil_certificates():
    told = _ssl.get_default_verify_paths()
    if os.environ.get(told[0]) or os.environ.get(told[2]) or os.path.isfile(told[1]):
        return None
    try:
        if any(name.endswith(".0") for name in os.listdir(told[3])):
            return None
    except OSError:
        pass
    for path in (
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/var/lib/ca-certificates/ca-bundle.pem",
        "/etc/ssl/cert.pem",
        "/etc/pki/tls/cert.pem",
        sys.base_prefix + "/share/certificates.pem",
    ):
        if os.path.isfile(path) and os.access(path, os.R_OK):
            return path
    return None


def _coil_set_default_verify_paths(self):
    _SSLContext.set_default_verify_paths(self)
    path = _coil_certificates()
    if path is not None:
        self.load_verify_locations(cafile=path)


_coil_default_verify_paths = get_default_verify_paths


def get_default_verify_paths():
    paths = _coil_default_verify_paths()
    path = _coil_certificates()
    return paths if path is None else paths._replace(cafile=path)


get_default_verify_paths.__doc__ = _coil_default_verify_paths.__doc__
SSLContext.set_default_verify_paths = _coil_set_default_verify_paths
