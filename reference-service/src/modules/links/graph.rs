//! `GET /api/v1/:type/:id/graph`: what hangs together with an entity.

use formwork_authz::Object;
use formwork_entity_links::{Cut, End, Step, Walk, Walked};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EndView, direction_name};
use crate::{
    http::{caller::Caller, error::ApiError, extract::Json},
    modules::Linkable,
};

/// The farthest that is followed.
const FARTHEST: u32 = 5;

/// How far.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Depth {
    /// In links, 1 to 5; 2 when absent.
    depth: Option<u32>,
}

/// Everything that was found, nearest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GraphView {
    /// Each way, by its last step.
    steps: Vec<StepView>,
    /// What is not here although it is near enough: `fan_out`, `steps`, `time`.
    cut: Vec<&'static str>,
}

/// One link further.
#[derive(Debug, Serialize, JsonSchema)]
struct StepView {
    /// How many links away.
    depth: u32,
    link: Uuid,
    relationship: String,
    /// `forward` from its source, `inverse` from its target.
    direction: &'static str,
    /// Where the step leads.
    end: EndView,
    /// The way to it, from the entity that was asked about.
    path: Vec<EndView>,
}

impl From<Step> for StepView {
    fn from(step: Step) -> Self {
        Self {
            depth: step.depth,
            link: step.link,
            relationship: step.relationship,
            direction: direction_name(step.direction),
            end: step.end.into(),
            path: step.path.into_iter().map(EndView::from).collect(),
        }
    }
}

impl From<Walked> for GraphView {
    fn from(walked: Walked) -> Self {
        let name = |cut| match cut {
            Cut::FanOut => "fan_out",
            Cut::Steps => "steps",
            Cut::Time => "time",
        };
        let steps = walked.steps.into_iter().map(StepView::from).collect();
        Self { steps, cut: walked.cut.into_iter().map(name).collect() }
    }
}

pub(super) async fn show(
    entity: Linkable,
    caller: Caller,
    id: Uuid,
    Depth { depth }: Depth,
) -> Result<Json<GraphView>, ApiError> {
    let depth = depth.unwrap_or(2);
    if !(1..=FARTHEST).contains(&depth) {
        return Err(ApiError::invalid("depth", format!("use 1 to {FARTHEST}")));
    }
    let mut work = caller.begin_read().await?;
    work.authorize(&Object::new(entity.kind, id)).await?;
    let links = work.app().links.clone();
    let walked = links.walk(&mut work, &End::new(entity.kind, id), &Walk::new().depth(depth)).await?;
    Ok(Json(walked.into()))
}
