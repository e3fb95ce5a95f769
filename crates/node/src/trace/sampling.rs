//! Which actions are traced, by the names of the OpenTelemetry specification.

use opentelemetry_sdk::trace::Sampler;

use crate::config::kinds::OneOf;

/// What decides whether an action is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// All are.
    AlwaysOn,
    /// None is.
    AlwaysOff,
    /// The ratio of all is, whatever the client says.
    TraceIdRatio,
    /// As the client says, and all of which it says nothing.
    ParentBasedAlwaysOn,
    /// As the client says, and none of which it says nothing.
    ParentBasedAlwaysOff,
    /// As the client says, and the ratio of those of which it says nothing.
    ParentBasedTraceIdRatio,
}

impl Sampling {
    /// The setting's kind.
    pub const KIND: OneOf<Self> = OneOf(&[
        ("always_on", Self::AlwaysOn),
        ("always_off", Self::AlwaysOff),
        ("traceidratio", Self::TraceIdRatio),
        ("parentbased_always_on", Self::ParentBasedAlwaysOn),
        ("parentbased_always_off", Self::ParentBasedAlwaysOff),
        ("parentbased_traceidratio", Self::ParentBasedTraceIdRatio),
    ]);

    /// The sampler, with this ratio if it has one.
    pub fn sampler(self, ratio: f64) -> Sampler {
        match self {
            Self::AlwaysOn => Sampler::AlwaysOn,
            Self::AlwaysOff => Sampler::AlwaysOff,
            Self::TraceIdRatio => Sampler::TraceIdRatioBased(ratio),
            Self::ParentBasedAlwaysOn => Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
            Self::ParentBasedAlwaysOff => Sampler::ParentBased(Box::new(Sampler::AlwaysOff)),
            Self::ParentBasedTraceIdRatio => {
                Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)))
            }
        }
    }
}
