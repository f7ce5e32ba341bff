//! What a commit leaves behind, so that a later read can ask for at least that state.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{Tenant, TenantId};

/// A point in the history of one tenant's home, taken after a commit.
///
/// Opaque text for callers (`Display`, `FromStr`); a token of another tenant or of an older epoch of
/// the home is of no use, and whoever reads one must check both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitToken {
    tenant: TenantId,
    epoch: i64,
    snapshot: String,
    wal: String,
    xid: Option<u64>,
}

impl CommitToken {
    pub(crate) fn new(tenant: &Tenant, xid: Option<u64>, snapshot: String, wal: String) -> Self {
        Self { tenant: tenant.id(), epoch: tenant.epoch(), snapshot, wal, xid }
    }

    /// Every state is new enough for somebody who has written nothing.
    pub(crate) fn of_a_read(tenant: &Tenant) -> Self {
        // No transaction has an id below three, and the log does not begin at zero.
        Self::new(tenant, None, "3:3:".to_owned(), "0/0".to_owned())
    }

    /// Whose home.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Epoch of the home.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The snapshot taken just after the commit, as `pg_snapshot` text.
    pub fn snapshot(&self) -> &str {
        &self.snapshot
    }

    /// The position in the write-ahead log after the commit, as `pg_lsn` text.
    pub fn wal(&self) -> &str {
        &self.wal
    }

    /// The transaction's id; none when it wrote nothing.
    pub fn xid(&self) -> Option<u64> {
        self.xid
    }
}

impl fmt::Display for CommitToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let xid = self.xid.unwrap_or(0);
        write!(f, "v1.{}.{}.{xid}.{}.{}", self.tenant.as_uuid().simple(), self.epoch, self.snapshot, self.wal)
    }
}

impl Serialize for CommitToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CommitToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Text that is no token.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{given}` is no commit token: pass back the text that a commit gave")]
pub struct InvalidToken {
    given: String,
}

impl FromStr for CommitToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let parse = || {
            let mut parts = text.strip_prefix("v1.")?.split('.');
            let tenant = uuid::Uuid::parse_str(parts.next()?).ok()?.into();
            let epoch = parts.next()?.parse().ok()?;
            let xid = Some(parts.next()?.parse().ok()?).filter(|xid| *xid != 0);
            let snapshot = parts.next().filter(|text| is_snapshot(text))?.to_owned();
            let wal = parts.next().filter(|text| is_wal_position(text))?.to_owned();
            parts.next().is_none().then_some(Self { tenant, epoch, snapshot, wal, xid })
        };
        parse().ok_or_else(|| InvalidToken { given: text.chars().take(80).collect() })
    }
}

/// `xmin:xmax:xip_list`
fn is_snapshot(text: &str) -> bool {
    text.split(':').count() == 3 && text.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b',')
}

/// `16/B374D848`
fn is_wal_position(text: &str) -> bool {
    text.split_once('/').is_some_and(|(high, low)| {
        let hex = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
        hex(high) && hex(low)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_as_it_was_written() {
        let token = CommitToken {
            tenant: TenantId::generate(),
            epoch: 3,
            snapshot: "10:20:10,14".into(),
            wal: "16/B374D848".into(),
            xid: Some(19),
        };
        assert_eq!(token.to_string().parse::<CommitToken>().unwrap(), token);
    }

    #[test]
    fn text_that_is_no_token_is_refused() {
        let id = TenantId::generate().as_uuid().simple();
        for text in ["", "v1", "v2.x", &format!("v1.{id}.1.0.10:20.0/1"), &format!("v1.{id}.1.0.1:2:.x/1")] {
            assert!(text.parse::<CommitToken>().is_err(), "{text}");
        }
    }
}
