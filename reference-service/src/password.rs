//! Password hashes: Argon2id, a bounded number at a time, since each takes 19 MiB and tens of milliseconds.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::Semaphore;

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
}

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password could not be hashed")]
pub struct PasswordError;

impl Passwords {
    /// As many at a time as there are processors.
    pub fn new() -> Self {
        let turns = std::thread::available_parallelism().map_or(1, usize::from);
        Self { turns: Arc::new(Semaphore::new(turns)) }
    }

    /// The hash to be stored, as a PHC string.
    ///
    /// # Errors
    ///
    /// [`PasswordError`] when the machine gives no random bytes.
    pub fn hash(password: &str) -> Result<String, PasswordError> {
        Ok(Argon2::default().hash_password(password.as_bytes()).map_err(|_| PasswordError)?.to_string())
    }

    /// Is this the password? Takes as long when there is none to compare with.
    pub async fn verify(&self, password: String, stored: Option<String>) -> bool {
        let Ok(_turn) = self.turns.acquire().await else { return false };
        let verified = tokio::task::spawn_blocking(move || match stored {
            Some(stored) => matches(&password, &stored),
            None => {
                let _ = Self::hash(&password);
                false
            }
        });
        verified.await.unwrap_or(false)
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

fn matches(password: &str, stored: &str) -> bool {
    PasswordHash::new(stored)
        .is_ok_and(|stored| Argon2::default().verify_password(password.as_bytes(), &stored).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_is_accepted() {
        let stored = Passwords::hash("correct horse").unwrap();
        let passwords = Passwords::new();
        assert!(passwords.verify("correct horse".into(), Some(stored.clone())).await);
        assert!(!passwords.verify("Correct horse".into(), Some(stored)).await);
        assert!(!passwords.verify("correct horse".into(), None).await);
        assert!(!passwords.verify("x".into(), Some("not a hash".into())).await);
    }
}
