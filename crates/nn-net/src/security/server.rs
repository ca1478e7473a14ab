//! What a coordinator requires of its clients.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

use super::error::SecurityError;
use super::identity::{Authorities, Identity};
use super::tls::{ALPN, VERSIONS, provider};
use super::token::Token;

/// What a coordinator requires of its clients. The default is nothing.
#[derive(Clone, Default)]
pub struct ServerSecurity {
    tls: Option<Arc<ServerConfig>>,
    certificates: bool,
    token: Option<Token>,
}

impl ServerSecurity {
    /// Speaks TLS as `identity`. With `clients`, a client's certificate must be signed by one of these authorities; with
    /// `required`, every client must show one.
    ///
    /// # Errors
    /// If the identity's key cannot be used, or does not match its certificate.
    pub fn with_tls(
        self,
        identity: Identity,
        clients: Option<&Authorities>,
        required: bool,
    ) -> Result<Self, SecurityError> {
        // Otherwise clients would be admitted that the caller wanted to exclude.
        debug_assert!(!required || clients.is_some());
        let other = |error: &dyn fmt::Display| SecurityError::Tls(error.to_string());
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(VERSIONS).map_err(|error| other(&error))?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(Authorities(roots)) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
                let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| other(&error))?)
            }
        };
        let Identity { chain, key, certificate_file, key_file, .. } = identity;
        let mut config =
            builder.with_single_cert(chain, key).map_err(Identity::wrong(certificate_file, key_file))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session would rely on a certificate that may have expired since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { tls: Some(Arc::new(config)), certificates: required && clients.is_some(), ..self })
    }

    /// Requires this token.
    #[must_use]
    pub fn with_token(self, token: Token) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether clients must authenticate, by a certificate or a token.
    #[must_use]
    pub fn knows_its_peers(&self) -> bool {
        self.certificates || self.token.is_some()
    }

    /// Whether a request with this `authorization` header may pass.
    #[must_use]
    pub fn admits(&self, authorization: Option<&[u8]>) -> bool {
        match &self.token {
            Some(token) => authorization.is_some_and(|shown| token.is_in(shown)),
            None => true,
        }
    }

    /// What shakes hands with clients that speak HTTP/1.1 rather than gRPC; `None` without TLS.
    #[must_use]
    pub fn http_acceptor(&self) -> Option<TlsAcceptor> {
        let mut config = ServerConfig::clone(self.tls.as_ref()?);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Some(TlsAcceptor::from(Arc::new(config)))
    }

    pub(crate) fn tls(&self) -> Option<&Arc<ServerConfig>> {
        self.tls.as_ref()
    }

    /// Whether the handshake fails without a valid client certificate.
    pub(crate) fn requires_certificates(&self) -> bool {
        self.certificates
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }
}

impl fmt::Debug for ServerSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSecurity")
            .field("tls", &self.has_tls())
            .field("certificates", &self.certificates)
            .field("token", &self.token)
            .finish()
    }
}
