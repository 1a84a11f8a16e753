//! What runs each model, told when it is put into service and when it is taken out.

use metrics::{KeyName, Label, Recorder};

use super::{METADATA, Registration};

const PROVIDER: &str = "undertone_model_provider";
const FELL_BACK: &str = "undertone_model_fell_back";

/// What may run a model.
pub const PROVIDERS: [&str; 3] = ["cpu", "cuda", "tensorrt"];

/// Tells that this model runs on this provider, one of [`PROVIDERS`], and whether another was configured; on none where it is no longer in
/// service.
pub fn tell_provider(recorder: &dyn Recorder, model: &str, provider: Option<&str>, fell_back: bool) {
    let from = Registration { recorder, model: Some(model) };
    recorder.describe_gauge(KeyName::from(PROVIDER), None, "1 for what runs the model.".into());
    for value in PROVIDERS {
        let gauge = recorder.register_gauge(&from.key(PROVIDER, &[Label::new("provider", value)]), &METADATA);
        gauge.set(f64::from(u8::from(Some(value) == provider)));
    }
    let gauge =
        from.gauge(FELL_BACK, "1 where the model runs on the CPU because the provider configured cannot be had.");
    gauge.set(f64::from(u8::from(fell_back)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::recorder;

    #[test]
    fn the_latest_provider_of_a_model_is_the_one_that_is_told() {
        let recorder = recorder();
        tell_provider(&recorder, "m", Some("cuda"), false);
        tell_provider(&recorder, "m", Some("cpu"), true);
        let text = recorder.handle().render();
        for line in [
            "undertone_model_provider{model=\"m\",provider=\"cpu\"} 1",
            "undertone_model_provider{model=\"m\",provider=\"cuda\"} 0",
            "undertone_model_provider{model=\"m\",provider=\"tensorrt\"} 0",
            "undertone_model_fell_back{model=\"m\"} 1",
        ] {
            assert!(text.lines().any(|told| told == line), "no {line} in\n{text}");
        }
    }
}
