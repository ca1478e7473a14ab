//! The credentials of a client, such as a worker, and its trust in coordinators.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;

use super::error::SecurityError;
use super::identity::{Authorities, Identity};
use super::tls::{ALPN, VERSIONS, provider};
use super::token::Token;

/// What a client shows to coordinators, and which of them it trusts. The default is neither, which is enough for a
/// coordinator without TLS.
#[derive(Clone, Default)]
pub struct ClientSecurity {
    tls: Option<Arc<ClientConfig>>,
    name: Option<ServerName<'static>>,
    token: Option<Token>,
}

impl ClientSecurity {
    /// Trusts coordinators whose certificate one of these authorities signed for the dialled host, and shows them
    /// `identity` on request.
    ///
    /// # Errors
    /// If the identity's key cannot be used, or does not match its certificate.
    pub fn with_tls(self, trusted: Authorities, identity: Option<Identity>) -> Result<Self, SecurityError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(|error| SecurityError::Tls(error.to_string()))?
            .with_root_certificates(trusted.0);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key, certificate_file, key_file, .. }) => builder
                .with_client_auth_cert(chain, key)
                .map_err(Identity::wrong(certificate_file, key_file))?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self { tls: Some(Arc::new(config)), ..self })
    }

    /// Expects the coordinator's certificate to be for this name, whatever address is dialled.
    ///
    /// # Errors
    /// If it is neither a host name nor an IP address.
    pub fn with_name(self, name: &str) -> Result<Self, SecurityError> {
        Ok(Self { name: Some(server_name(name)?), ..self })
    }

    /// Shows this token.
    #[must_use]
    pub fn with_token(self, token: Token) -> Self {
        Self { token: Some(token), ..self }
    }

    pub(crate) fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// The name that the certificate of a dialled `host` must be for. The host is as in a URL.
    pub(crate) fn name_of(&self, host: &str) -> Result<ServerName<'static>, SecurityError> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => server_name(host.trim_start_matches('[').trim_end_matches(']')),
        }
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, SecurityError> {
    ServerName::try_from(name.to_owned()).map_err(|_| SecurityError::Name { name: name.to_owned() })
}

impl fmt::Debug for ClientSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecurity")
            .field("tls", &self.tls.is_some())
            .field("name", &self.name)
            .field("token", &self.token)
            .finish()
    }
}
