//! Reserve, settle, release; consume and give back.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{QuotaError, QuotaExceeded, Quotas};
use crate::TenantTx;

/// The most that one call moves: sums of such stay far inside a bigint.
const MOST: u64 = 1 << 53;

/// Units that are set aside until they are settled, released or expire. It can be kept and settled by another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "it holds units until it expires: settle or release it"]
pub struct Reservation {
    id: Uuid,
    resource: String,
    period: String,
    units: u64,
}

impl Reservation {
    /// Of what.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// How many.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Of which period, as `2026-11`; empty when the count never begins anew. It is settled in the same one.
    pub fn period(&self) -> &str {
        &self.period
    }
}

/// What a function of the home answers.
#[derive(sqlx::FromRow)]
struct Taken {
    granted: bool,
    most: Option<i64>,
    now_used: i64,
    now_reserved: i64,
}

impl Quotas {
    /// Sets units aside.
    ///
    /// # Errors
    ///
    /// [`QuotaError::Exceeded`] when the limit has no room, [`QuotaError::Unknown`] for a resource without a quota.
    pub async fn reserve(
        &self,
        tx: &mut TenantTx,
        resource: &str,
        units: u64,
    ) -> Result<Reservation, QuotaError> {
        let asked = in_range(units, 1)?;
        let terms = self.terms(tx.tenant(), resource)?;
        let id = Uuid::now_v7();
        let zone = tx.tenant().time_zone().to_owned();
        let (granted, most, now_used, now_reserved, period): (bool, Option<i64>, i64, i64, String) =
            sqlx::query_as("select * from quota_reserve($1, $2, $3, $4, $5, $6, $7)")
                .bind(id)
                .bind(resource)
                .bind(terms.kind)
                .bind(zone)
                .bind(terms.units)
                .bind(asked)
                .bind(self.hold_milliseconds())
                .fetch_one(&mut **tx)
                .await?;
        Taken { granted, most, now_used, now_reserved }.or_exceeded(resource, units)?;
        Ok(Reservation { id, resource: resource.to_owned(), period, units })
    }

    /// Uses `actual` units of a reservation and gives the rest back; none is as good as
    /// [`release`](Self::release). More than was reserved must find room. An expired reservation is settled like any
    /// other as long as nobody has needed its room.
    ///
    /// # Errors
    ///
    /// [`QuotaError::Gone`], [`QuotaError::Exceeded`]; in both cases nothing is used, and with the second the
    /// reservation stays as it was.
    pub async fn settle(
        &self,
        tx: &mut TenantTx,
        reservation: &Reservation,
        actual: u64,
    ) -> Result<(), QuotaError> {
        let used = in_range(actual, 0)?;
        let terms = self.terms(tx.tenant(), &reservation.resource)?;
        let (outcome, most, now_used, now_reserved): (String, Option<i64>, Option<i64>, Option<i64>) =
            sqlx::query_as("select * from quota_settle($1, $2, $3, $4, $5)")
                .bind(reservation.id)
                .bind(&reservation.resource)
                .bind(&reservation.period)
                .bind(terms.units)
                .bind(used)
                .fetch_one(&mut **tx)
                .await?;
        if outcome == "gone" {
            return Err(QuotaError::Gone);
        }
        let (now_used, now_reserved) = (now_used.unwrap_or(0), now_reserved.unwrap_or(0));
        let taken = Taken { granted: outcome == "settled", most, now_used, now_reserved };
        taken.or_exceeded(&reservation.resource, actual.saturating_sub(reservation.units))
    }

    /// Gives a reservation back unused. Was it still there?
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn release(&self, tx: &mut TenantTx, reservation: &Reservation) -> Result<bool, QuotaError> {
        match self.settle(tx, reservation, 0).await {
            Ok(()) => Ok(true),
            Err(QuotaError::Gone) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Uses units without setting them aside first.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    pub async fn consume(&self, tx: &mut TenantTx, resource: &str, units: u64) -> Result<(), QuotaError> {
        let asked = in_range(units, 0)?;
        let terms = self.terms(tx.tenant(), resource)?;
        let zone = tx.tenant().time_zone().to_owned();
        let taken: Taken = sqlx::query_as("select * from quota_take($1, quota_period($2, $3), $4, $5, 0)")
            .bind(resource)
            .bind(terms.kind)
            .bind(zone)
            .bind(terms.units)
            .bind(asked)
            .fetch_one(&mut **tx)
            .await?;
        taken.or_exceeded(resource, units)
    }

    /// Makes room again in the running period, as when a project is deleted; never more than is used.
    ///
    /// # Errors
    ///
    /// When the resource has no quota, or the database fails.
    pub async fn give_back(&self, tx: &mut TenantTx, resource: &str, units: u64) -> Result<(), QuotaError> {
        let back = in_range(units, 0)?;
        let terms = self.terms(tx.tenant(), resource)?;
        let zone = tx.tenant().time_zone().to_owned();
        sqlx::query(
            "update quota_usage set used = greatest(used - $1, 0) where resource = $2 and period = quota_period($3, $4)",
        )
        .bind(back)
        .bind(resource)
        .bind(terms.kind)
        .bind(zone)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

impl Taken {
    fn or_exceeded(self, resource: &str, asked: u64) -> Result<(), QuotaError> {
        if self.granted {
            return Ok(());
        }
        let (limit, used, reserved) =
            (unsigned(self.most.unwrap_or(i64::MAX)), unsigned(self.now_used), unsigned(self.now_reserved));
        Err(QuotaExceeded { resource: resource.to_owned(), asked, limit, used, reserved }.into())
    }
}

fn in_range(units: u64, least: u64) -> Result<i64, QuotaError> {
    let signed = i64::try_from(units).ok().filter(|_| (least..=MOST).contains(&units));
    signed.ok_or(QuotaError::OutOfRange { units })
}

/// The tables hold nothing below zero.
pub(super) fn unsigned(units: i64) -> u64 {
    u64::try_from(units).unwrap_or(0)
}
