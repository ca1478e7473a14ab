//! What a worker, or whoever asks for the status, proves, and whom it trusts.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;

use super::{ALPN, Authorities, Identity, SecurityError, Token, VERSIONS, provider};

/// What one who dials proves, and whom it trusts; by default neither, which is enough for a coordinator without TLS.
#[derive(Clone, Default)]
pub struct ClientSecurity {
    tls: Option<Arc<ClientConfig>>,
    name: Option<ServerName<'static>>,
    token: Option<Token>,
}

impl ClientSecurity {
    /// Trusts coordinators whose certificate one of these authorities signed for the host that was dialled, and shows
    /// them `identity`, if they ask.
    ///
    /// # Errors
    /// If the identity's key cannot be used, or is not its certificate's.
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

    /// Wants the coordinator's certificate to be for this name, whatever address is dialled.
    ///
    /// # Errors
    /// If it is no name.
    pub fn with_name(self, name: &str) -> Result<Self, SecurityError> {
        Ok(Self { name: Some(server_name(name)?), ..self })
    }

    /// Shows the token.
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

    /// The name that the certificate of what is dialled must be for. `host` is as in a URL.
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
