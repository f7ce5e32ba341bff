//! Fields sealed under keys of the tenant's own.
//!
//! A value is sealed under a *data key* of its tenant. Data keys stand in the tenant's home, in `tenant_keys`, wrapped
//! by a [`KeyProvider`] under a key that it keeps for this tenant outside of the database. So a copy of the database
//! opens nothing, and [`Keys::shred`] makes every copy of it, also those taken before, unreadable for good. What this
//! protects from and what not is in `docs/keys.md`.
//!
//! The place of a value ([`Field`]: table, column and row) and its tenant are bound into the seal: bytes that were copied
//! to any other place are refused.
//!
//! ```no_run
//! # async fn example(tenants: formwork_tenancy::Tenants, session: formwork_tenancy::Session)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use formwork_tenancy::{field, keys::{IndexedColumn, Keys, LocalKeyFile, Sealed, normalise}};
//!
//! const EMAIL: IndexedColumn = IndexedColumn::new("people", "email").normalised(normalise::ignoring_case);
//!
//! let keys = Keys::new(LocalKeyFile::open_or_create("/var/lib/app/keys.json")?);
//! let id = uuid::Uuid::now_v7();
//! let mut tx = tenants.begin(&session).await?;
//! let passport: Sealed<String> = keys.seal(&mut tx, "X1234567", field!("people", "passport", id)).await?;
//! let email = keys.blind_index(&mut tx, &EMAIL, "anna@example.com").await?;
//! sqlx::query("insert into people (id, passport, email_index) values ($1, $2, $3)")
//!     .bind(id).bind(&passport).bind(&email)
//!     .execute(&mut *tx).await?;
//! tx.commit().await?;
//!
//! let mut tx = tenants.begin_read(&session).await?;
//! let wanted = keys.blind_index_to_find(&mut tx, &EMAIL, " Anna@Example.com").await?;
//! let (id, passport): (uuid::Uuid, Sealed<String>) =
//!     sqlx::query_as("select id, passport from people where email_index = $1")
//!         .bind(wanted)
//!         .fetch_one(&mut *tx).await?;
//! let passport: String = keys.open(&mut tx, &passport, field!("people", "passport", id)).await?;
//! # Ok(()) }
//! ```
//!
//! # How old a key in memory may be
//!
//! Opened data keys are kept for at most [`MAX_TIME_TO_LIVE`], one minute, counted from the moment when the database
//! said that they stand. So a node works on that long without its provider, and that long other nodes may open what has
//! just been shredded and seal under a data key that has just been retired.

#[cfg(feature = "aws-kms")]
mod aws_kms;
mod blind_index;
mod cache;
mod cipher;
mod encoding;
mod error;
mod field;
mod handle;
mod key_file;
mod load;
mod local_key_file;
pub mod normalise;
mod plain;
mod provider;
mod reseal;
mod rotate;
mod seal;
mod sealed;
mod secret;
mod shred;

#[cfg(feature = "aws-kms")]
pub use aws_kms::AwsKms;
pub use blind_index::{BlindIndex, IndexedColumn};
pub use error::KeyError;
pub use field::{Field, RowId};
pub use handle::{Keys, KeysBuilder, MAX_TIME_TO_LIVE};
pub use key_file::KeyFileError;
pub use local_key_file::LocalKeyFile;
pub use plain::{FromSealed, ToSealed};
pub use provider::{KeyContext, KeyProvider, ProviderError, Purpose, WrappedKey};
pub use reseal::{Page, SealedColumn};
pub use sealed::Sealed;
pub use secret::SecretKey;
