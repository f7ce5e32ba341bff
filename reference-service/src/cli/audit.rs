//! `formwork audit`: the seals of a tenant's trail, the trail as a file, and what goes when its time is over.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use ed25519_dalek::{SigningKey, pkcs8::DecodePrivateKey};
use formwork_audit::{
    EXPORTED, Event,
    seal::{
        ConsistencyProof, FileAnchor, InclusionProof, OfflineTrail, PublicKey, SealKey, Sealer, Verification,
        Verifier,
    },
};
use formwork_tenancy::{Actor, Session, Tenant, TenantTx, Tenants};
use uuid::Uuid;

use super::{Failure, audit_export::Export, audit_remove::RemoveOld, audit_sinks::Sinks, say};
use crate::{databases::Databases, token};

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Take what is new in the trails into their trees and sign it.
    Seal(Seal),
    /// Look whether a tenant's trail is as it was sealed, and name what is not.
    Verify(Verify),
    /// Print the proof that an event is in the trail, or that the trail has only grown, as JSON.
    Prove(Prove),
    /// Write the sealed trail into a file that `check-audit-proof` verifies without the database.
    Trail(Trail),
    /// Write a tenant's trail into a file; that stands in the trail.
    Export(Export),
    /// Remove events whose time is over, under a signed tombstone: what remains is proven as before. Needs
    /// DATABASE_OWNER_URL; a tenant on legal hold keeps its events.
    RemoveOld(RemoveOld),
    /// Where the trails go besides: how far each place is, and what it would not take.
    #[command(subcommand)]
    Sinks(Sinks),
}

#[derive(Debug, Args)]
pub(super) struct Seal {
    /// The tenants' slugs.
    #[arg(required = true)]
    tenants: Vec<String>,
    /// The signing key, Ed25519 in PEM; made when it is not there [default: audit-seal.pem in the state folder].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The key until now, when it is replaced by another: both sign once.
    #[arg(long, value_name = "FILE")]
    retiring_key: Option<PathBuf>,
    /// File, best on another machine, to which checkpoints are appended once they are committed.
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The tenant's slug.
    tenant: String,
    /// A public key that is trusted, of the first checkpoint [default: that of audit-seal.pem in the state folder].
    #[arg(long = "trust", value_name = "KEY")]
    trusted: Vec<PublicKey>,
    /// The file to which checkpoints were appended; without it a trail that was set back looks like one that has not gone
    /// on.
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Prove {
    /// The tenant's slug.
    tenant: String,
    /// The event.
    #[arg(required_unless_present = "from")]
    event: Option<Uuid>,
    /// Number of the earlier checkpoint.
    #[arg(long, requires = "to", conflicts_with = "event")]
    from: Option<u64>,
    /// Number of the later one.
    #[arg(long, requires = "from")]
    to: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Trail {
    /// The tenant's slug.
    tenant: String,
    /// File to write, which must not be there.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

impl Audit {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        let databases = Databases::named_or_made_before(state).await?;
        let outcome = self.on(&databases, state).await;
        databases.stop().await;
        outcome
    }

    async fn on(self, databases: &Databases, state: &Path) -> Result<(), Failure> {
        let tenants = databases.tenants(Tenants::builder()).await?;
        let outcome = match self {
            Self::Seal(seal) => seal.run(&tenants, state).await,
            Self::Verify(verify) => verify.run(&tenants, state).await,
            Self::Prove(prove) => prove.run(&tenants).await,
            Self::Trail(trail) => trail.run(&tenants).await,
            Self::Export(export) => export.run(&tenants).await,
            Self::RemoveOld(remove) => remove.run(databases, &tenants, state).await,
            Self::Sinks(sinks) => sinks.run(databases, &tenants).await,
        };
        tenants.close().await;
        outcome
    }
}

impl Seal {
    async fn run(&self, tenants: &Tenants, state: &Path) -> Result<(), Failure> {
        let path = self.key.clone().unwrap_or_else(|| default_key(state));
        if !path.exists() {
            let made = token::create(&path);
            made.map_err(|error| format!("the key `{}` could not be made: {error}", path.display()))?;
        }
        let key = read_key(&path)?;
        let public = key.public();
        let mut sealer = Sealer::new(key);
        if let Some(retiring) = &self.retiring_key {
            sealer = sealer.retiring(read_key(retiring)?);
        }
        if let Some(path) = &self.anchor {
            let opened = FileAnchor::open(path);
            sealer = sealer.anchor(opened.map_err(|error| unusable(path, &error))?);
        }
        for slug in &self.tenants {
            self.seal(tenants, &find(tenants, slug).await?, &sealer).await?;
        }
        say!("public key: {public}");
        Ok(())
    }

    async fn seal(&self, tenants: &Tenants, tenant: &Tenant, sealer: &Sealer) -> Result<(), Failure> {
        loop {
            let mut tx = tenants.begin(&session(tenant)).await?;
            let sealed = sealer.seal(&mut tx).await?;
            tx.commit().await?;
            if let Some(signed) = sealed.checkpoint() {
                let says = signed.checkpoint();
                let (slug, number, size) = (tenant.slug(), says.number(), says.size());
                say!("`{slug}`: {} events sealed, checkpoint {number} of {size}", sealed.events());
            }
            // Only what is committed is anchored, so once more after the last one.
            let to_anchor = self.anchor.is_some() && sealed.checkpoint().is_some();
            if sealed.is_caught_up() && !to_anchor {
                return Ok(());
            }
        }
    }
}

impl Verify {
    async fn run(&self, tenants: &Tenants, state: &Path) -> Result<(), Failure> {
        let tenant = find(tenants, &self.tenant).await?;
        let trusted = match self.trusted.is_empty() {
            true => vec![read_key(&default_key(state))?.public()],
            false => self.trusted.clone(),
        };
        let mut verifier = Verifier::new(trusted);
        if let Some(path) = &self.anchor {
            let read = FileAnchor::read(path, tenant.id());
            verifier = verifier.anchored(read.map_err(|error| unusable(path, &error))?);
        }
        let mut tx = tenants.begin_read(&session(&tenant)).await?;
        let found = verifier.verify(&mut tx).await?;
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(&found)?),
            false => self.tell(&found),
        }
        match found.is_intact() {
            true => Ok(()),
            false => Err(format!("the trail of `{}` is not as it was sealed", self.tenant).into()),
        }
    }

    fn tell(&self, found: &Verification) {
        for finding in found.findings() {
            say!("{finding}");
        }
        if found.more() > 0 {
            say!("and {} more", found.more());
        }
        for buried in found.buried().iter().filter(|buried| buried.gone() > 0) {
            say!("{} events are gone under tombstone {}", buried.gone(), buried.checkpoint());
        }
        let (events, checkpoints, unsealed) = (found.events(), found.checkpoints(), found.unsealed());
        say!(
            "`{}`: {events} events, {checkpoints} checkpoints, {unsealed} events not sealed yet",
            self.tenant
        );
    }
}

impl Prove {
    async fn run(&self, tenants: &Tenants) -> Result<(), Failure> {
        let tenant = find(tenants, &self.tenant).await?;
        let mut tx = tenants.begin_read(&session(&tenant)).await?;
        let json = self.proof(&mut tx).await?;
        say!("{json}");
        Ok(())
    }

    async fn proof(&self, tx: &mut TenantTx) -> Result<String, Failure> {
        match (self.event, self.from, self.to) {
            (Some(event), _, _) => Ok(serde_json::to_string_pretty(&InclusionProof::of(tx, event).await?)?),
            (None, Some(from), Some(to)) => {
                Ok(serde_json::to_string_pretty(&ConsistencyProof::of(tx, from, to).await?)?)
            }
            _ => Err("name an event, or two checkpoints with --from and --to".into()),
        }
    }
}

impl Trail {
    async fn run(&self, tenants: &Tenants) -> Result<(), Failure> {
        let tenant = find(tenants, &self.tenant).await?;
        let made = std::fs::File::create_new(&self.output);
        let mut file =
            made.map_err(|error| format!("`{}` cannot be written: {error}", self.output.display()))?;
        // Whoever takes the trail away stands in it; the event is sealed later, and not in the file.
        let mut tx = tenants.begin(&session(&tenant)).await?;
        let exported = Event::of(&EXPORTED).after(serde_json::json!({"format": "trail"}));
        formwork_audit::Audit::new().record(&mut tx, exported).await?;
        tx.commit().await?;
        let mut tx = tenants.begin_read(&session(&tenant)).await?;
        let mut trail = OfflineTrail::new();
        while let Some(piece) = trail.next(&mut tx).await? {
            file.write_all(piece.as_bytes())?;
        }
        say!("`{}`: {} events", self.tenant, trail.events());
        Ok(())
    }
}

pub(super) async fn find(tenants: &Tenants, slug: &str) -> Result<Tenant, Failure> {
    Ok(tenants.by_slug(slug).await?.ok_or_else(|| format!("there is no tenant `{slug}`"))?)
}

pub(super) fn session(tenant: &Tenant) -> Session {
    Session::new(tenant, Actor::system("audit"))
}

pub(super) fn default_key(state: &Path) -> PathBuf {
    state.join("audit-seal.pem")
}

pub(super) fn read_key(path: &Path) -> Result<SealKey, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("the key `{name}` cannot be read: {error}; name another one, or seal first")
    })?;
    let key = SigningKey::from_pkcs8_pem(&text).map_err(|_| format!("`{name}` is no Ed25519 key in PEM"))?;
    Ok(SealKey::from_seed(&key.to_bytes()))
}

pub(super) fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    format!("the anchor `{}` cannot be used: {error}", path.display()).into()
}
