//! What the deliverers do, as Prometheus reads it.

use std::fmt::Write;

use formwork_tenancy::Backlog;

use super::Delivery;

/// The text format, version 0.0.4. What the database does not tell is left out.
pub async fn text(deliveries: &[Delivery]) -> String {
    let mut backlogs: Vec<Option<Backlog>> = Vec::new();
    for delivery in deliveries {
        backlogs.push(delivery.deliverer.backlog().await.ok().flatten());
    }
    let mut text = String::new();
    for (name, help, value) in COUNTERS {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for delivery in deliveries {
            let _ = writeln!(text, "{name}{} {}", labels(delivery), value(&delivery.deliverer.metrics()));
        }
    }
    for (name, help, value) in GAUGES {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (delivery, backlog) in deliveries.iter().zip(&backlogs) {
            if let Some(backlog) = backlog {
                let _ = writeln!(text, "{name}{} {}", labels(delivery), value(backlog));
            }
        }
    }
    text
}

type Counter = (&'static str, &'static str, fn(&formwork_audit::sink::SinkMetrics) -> u64);
type Gauge = (&'static str, &'static str, fn(&Backlog) -> f64);

const COUNTERS: &[Counter] = &[
    ("formwork_audit_sink_delivered_total", "Events that the sink has taken.", |m| m.delivered),
    ("formwork_audit_sink_filtered_total", "Events that its filter has left out.", |m| m.filtered),
    ("formwork_audit_sink_retried_total", "Sends that failed and were tried again.", |m| m.retried),
    ("formwork_audit_sink_dead_letters_total", "Events that were given up.", |m| m.dead),
    ("formwork_audit_sink_dropped_total", "Events that were gone before they were sent.", |m| m.gone),
    ("formwork_audit_sink_pruned_total", "How often the outbox was cut before it was read.", |m| m.pruned),
];

const GAUGES: &[Gauge] = &[
    ("formwork_audit_sink_backlog_events", "Events that wait, up to 100000.", |b| b.rows() as f64),
    ("formwork_audit_sink_lag_seconds", "How long the oldest of them has waited.", |b| {
        b.oldest().unwrap_or_default().as_secs_f64()
    }),
];

/// Names of sinks and databases need no escapes.
fn labels(delivery: &Delivery) -> String {
    format!("{{sink=\"{}\",database=\"{}\"}}", delivery.deliverer.name(), delivery.database)
}
