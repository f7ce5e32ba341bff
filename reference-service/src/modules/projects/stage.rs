//! Where a project stands: the stage that a written status means, and the status that follows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A project's stage.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Applied for, not begun.
    #[default]
    PreConstruction,
    /// Under way.
    CourseOfConstruction,
    /// Built, not closed.
    PostConstruction,
    /// Closed.
    Completed,
    /// Never granted.
    NotAwarded,
    /// Given up, void or lapsed.
    Canceled,
}

impl Stage {
    /// Every stage, in the order of a project's life.
    pub const ALL: [Self; 6] = [
        Self::PreConstruction,
        Self::CourseOfConstruction,
        Self::PostConstruction,
        Self::Completed,
        Self::NotAwarded,
        Self::Canceled,
    ];

    /// The stage as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreConstruction => "pre_construction",
            Self::CourseOfConstruction => "course_of_construction",
            Self::PostConstruction => "post_construction",
            Self::Completed => "completed",
            Self::NotAwarded => "not_awarded",
            Self::Canceled => "canceled",
        }
    }

    /// A stage from its stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text)
    }

    /// Active until the project has ended. Archiving is a person's decision, never an import's.
    pub fn status(self) -> ProjectStatus {
        match self {
            Self::PreConstruction | Self::CourseOfConstruction | Self::PostConstruction => {
                ProjectStatus::Active
            }
            Self::Completed | Self::NotAwarded | Self::Canceled => ProjectStatus::Inactive,
        }
    }
}

/// A project's status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectStatus {
    /// Worked on.
    #[default]
    Active,
    /// Ended.
    Inactive,
    /// Put away by a person.
    Archived,
}

impl ProjectStatus {
    /// The status as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Archived => "archived",
        }
    }
}
