//! The begin of a connection: startup, the password in the form that the
//! server asks for, and what it tells before the first statement.

use bytes::BytesMut;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{self, ScramSha256},
    },
    message::frontend,
};
use tokio_postgres::{
    Config,
    config::{self, TargetSessionAttrs},
};

use super::{
    connection::Connection,
    failure::{Failure, Refusal},
    message::Fields,
    script::unwritable,
    wire::{Head, Wire},
};
use crate::sample::ErrorClass;

/// More rounds than this would only keep us busy: PostgreSQL's own are 4,096.
const MOST_SCRAM_ROUNDS: u32 = 1_000_000;

/// What to log in with.
pub(super) struct Login<'a> {
    pub(super) config: &'a Config,
    pub(super) user: &'a str,
    /// Settings of the session, by name.
    pub(super) settings: &'a [(&'static str, String)],
    /// What binds the login to its TLS, where there is such a thing.
    pub(super) binding: Option<Vec<u8>>,
}

impl Login<'_> {
    /// Logs in, up to the point where statements can be sent. What names the connection
    /// to its server: process and secret; a server may have no such thing.
    pub(super) async fn perform(self, wire: &mut Wire) -> Result<Option<(i32, i32)>, Failure> {
        wire.send(&self.startup()?).await?;
        self.authenticate(wire).await?;
        let mut key = None;
        loop {
            let head = next(wire).await?;
            let body = wire.body(head).await?;
            match head.tag {
                b'K' => {
                    let mut fields = Fields(body);
                    key = fields.i32().zip(fields.i32());
                }
                b'Z' => {
                    wire.answered(false);
                    return Ok(key);
                }
                tag => return Err(Failure::unexpected(tag)),
            }
        }
    }

    fn startup(&self) -> Result<BytesMut, Failure> {
        let optional = [
            ("database", self.config.get_dbname()),
            ("options", self.config.get_options()),
            ("application_name", self.config.get_application_name()),
        ];
        let given = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let settings = self.settings.iter().map(|(name, value)| (*name, value.as_str()));
        let parameters = [("client_encoding", "UTF8"), ("user", self.user)]
            .into_iter()
            .chain(given)
            .chain(settings);
        let mut out = BytesMut::new();
        frontend::startup_message(parameters, &mut out).map_err(unwritable)?;
        Ok(out)
    }

    async fn authenticate(&self, wire: &mut Wire) -> Result<(), Failure> {
        let (method, data) = request(wire).await?;
        let mut out = BytesMut::new();
        match method {
            0 => return self.without_binding(),
            3 => {
                self.without_binding()?;
                frontend::password_message(self.password()?, &mut out).map_err(unwritable)?;
            }
            5 => {
                self.without_binding()?;
                let salt = data.as_slice().try_into().map_err(|_| Failure::malformed("salt"))?;
                let hash = md5_hash(self.user.as_bytes(), self.password()?, salt);
                frontend::password_message(hash.as_bytes(), &mut out).map_err(unwritable)?;
            }
            10 => return self.scram(wire, &data).await,
            _ => {
                return Err(refused(
                    "the server wants an authentication that loadgate does not know",
                ));
            }
        }
        wire.send(&out).await?;
        expect(wire, 0).await.map(drop)
    }

    /// SCRAM-SHA-256 (RFC 7677), with the name of the exchange that binds it to its TLS where that can be.
    async fn scram(&self, wire: &mut Wire, offered: &[u8]) -> Result<(), Failure> {
        let mut offered = Fields(offered);
        let (mut plain, mut plus) = (false, false);
        while let Some(mechanism) = offered.text().filter(|mechanism| !mechanism.is_empty()) {
            plain |= mechanism == sasl::SCRAM_SHA_256.as_bytes();
            plus |= mechanism == sasl::SCRAM_SHA_256_PLUS.as_bytes();
        }
        let wanted = self.config.get_channel_binding() != config::ChannelBinding::Disable;
        let (binding, mechanism) = match self.binding.clone().filter(|_| wanted) {
            Some(hash) if plus => (
                sasl::ChannelBinding::tls_server_end_point(hash),
                sasl::SCRAM_SHA_256_PLUS,
            ),
            // Said aloud, so that nobody in between can have taken the offer away.
            Some(_) => (sasl::ChannelBinding::unrequested(), sasl::SCRAM_SHA_256),
            None => (sasl::ChannelBinding::unsupported(), sasl::SCRAM_SHA_256),
        };
        if !plain && !plus {
            return Err(refused("the server wants a SASL mechanism that loadgate does not know"));
        }
        if mechanism == sasl::SCRAM_SHA_256 {
            self.without_binding()?;
        }
        let mut scram = ScramSha256::new(self.password()?, binding);
        let failed = |error: std::io::Error| refused(&format!("SCRAM: {error}"));

        let mut out = BytesMut::new();
        frontend::sasl_initial_response(mechanism, scram.message(), &mut out).map_err(unwritable)?;
        wire.send(&out).await?;
        let challenge = expect(wire, 11).await?;
        if rounds(&challenge).is_none_or(|rounds| rounds > MOST_SCRAM_ROUNDS) {
            return Err(Failure::malformed("SCRAM challenge"));
        }
        scram.update(&challenge).map_err(failed)?;

        out.clear();
        frontend::sasl_response(scram.message(), &mut out).map_err(unwritable)?;
        wire.send(&out).await?;
        scram.finish(&expect(wire, 12).await?).map_err(failed)?;
        expect(wire, 0).await.map(drop)
    }

    fn password(&self) -> Result<&[u8], Failure> {
        self.config
            .get_password()
            .ok_or_else(|| refused("the server wants a password, and the address has none"))
    }

    fn without_binding(&self) -> Result<(), Failure> {
        match self.config.get_channel_binding() {
            config::ChannelBinding::Require => Err(refused("the server did not use channel binding")),
            _ => Ok(()),
        }
    }
}

fn refused(reason: &str) -> Failure {
    Failure::new(ErrorClass::Connect, reason)
}

/// The next message that is not only news; an error ends the login.
async fn next(wire: &mut Wire) -> Result<Head, Failure> {
    loop {
        let head = wire.head().await?;
        if head.tag == b'E' {
            let refusal = Refusal::read(wire.body(head).await?);
            wire.lose();
            return Err(refusal.failure);
        }
        if !head.is_news() {
            return Ok(head);
        }
        wire.skip(head).await?;
    }
}

/// What the server wants for authentication next: its number, and what belongs to it.
async fn request(wire: &mut Wire) -> Result<(u32, Vec<u8>), Failure> {
    let head = next(wire).await?;
    if head.tag != b'R' {
        return Err(Failure::unexpected(head.tag));
    }
    let mut fields = Fields(wire.body(head).await?);
    let method = fields.u32().ok_or_else(|| Failure::malformed("authentication"))?;
    Ok((method, fields.0.to_vec()))
}

async fn expect(wire: &mut Wire, wanted: u32) -> Result<Vec<u8>, Failure> {
    match request(wire).await? {
        (method, data) if method == wanted => Ok(data),
        (method, _) => Err(Failure::protocol(format_args!("authentication step {method}"))),
    }
}

/// `i=` of a SCRAM challenge (RFC 5802): how often the password is to be hashed.
fn rounds(challenge: &[u8]) -> Option<u32> {
    let mut attributes = challenge.split(|byte| *byte == b',');
    let rounds = attributes.find_map(|attribute| attribute.strip_prefix(b"i="))?;
    std::str::from_utf8(rounds).ok()?.parse().ok()
}

/// Whether the server is one of those that the address wants.
pub(super) async fn check_session(connection: &mut Connection, wanted: TargetSessionAttrs) -> Result<(), Failure> {
    let (unwanted, reason) = match wanted {
        TargetSessionAttrs::ReadWrite => ("on", "the database does not allow writes"),
        TargetSessionAttrs::ReadOnly => ("off", "the database is not read only"),
        _ => return Ok(()),
    };
    let answer = connection.ask("SHOW transaction_read_only").await?;
    match answer.first() {
        Some(Some(setting)) if setting == unwanted => Err(refused(reason)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_of_a_challenge_are_known_before_they_are_begun() {
        assert_eq!(rounds(b"r=abc,s=c2FsdA==,i=4096"), Some(4096));
        for challenge in [&b""[..], b"r=abc,s=i=1", b"i=", b"i=99999999999", b"i=-1"] {
            assert_eq!(rounds(challenge), None);
        }
    }
}
