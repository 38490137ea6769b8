//! How the attachment is served: underlay or overlay.

use coordinator_sdk::{Change, Decision, Device, Facts, Mode, POD_VETH, Refusal, Setting, Source, Stage};

use super::reach;

/// Decides the mode, and refuses what no mode can serve.
#[derive(Debug, Clone, Copy)]
pub struct ModeStage;

impl Stage for ModeStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let attached = &facts.request.interface;
        let is_first = *attached == facts.settings.pod_default_cni_nic;
        if facts.attached_link().is_none() {
            return Err(Refusal::new(format!("the Pod has no interface {attached}"))
                .hint("the plugin that makes the interface must stand before coordinator in the chain"));
        }
        if facts.attached_addresses().is_empty() {
            return Err(Refusal::new(format!(
                "interface {attached} has no address that others can use (link-local ones do not count)"
            ))
            .hint("check the IPAM section of the plugin that makes the interface"));
        }
        let (mode, why) = match facts.mode() {
            Mode::Overlay if is_first => {
                return Err(Refusal::new(format!(
                    "mode overlay cannot serve {attached}: it is the Pod's first interface (podDefaultCniNic), which the overlay itself must have made"
                ))
                .hint("use mode auto or underlay, or call coordinator for the further interfaces only"));
            }
            Mode::Auto => detect(facts, is_first),
            mode => (mode, "the settings say so".to_owned()),
        };
        if mode == Mode::Overlay && !reach::leads_to_node(facts, facts.settings.pod_default_cni_nic.as_str()) {
            return Err(Refusal::new(format!(
                "mode overlay needs a first interface that leads to the node, and {} is none",
                facts.settings.pod_default_cni_nic
            ))
            .hint("use mode auto or underlay, or name the first interface in podDefaultCniNic"));
        }
        let mut decision = Decision::default();
        if facts.mode() == Mode::Auto {
            let name = if mode == Mode::Overlay { "overlay" } else { "underlay" };
            let source = Source::Stage("mode".to_owned());
            let setting = Setting { name: "mode".to_owned(), value: name.into(), source };
            decision.push(Change::SetSetting(setting), why);
        }
        Ok(decision)
    }
}

fn detect(facts: &Facts, is_first: bool) -> (Mode, String) {
    let first = Device::pod(facts.settings.pod_default_cni_nic.as_str());
    if is_first {
        return (Mode::Underlay, format!("{} is the Pod's first interface", first.name));
    }
    if facts.model.link(&Device::pod(POD_VETH)).is_some_and(|link| link.flags.ours) {
        return (Mode::Underlay, format!("an earlier attachment made {POD_VETH}"));
    }
    match reach::leads_to_node(facts, facts.settings.pod_default_cni_nic.as_str()) {
        true => (Mode::Overlay, format!("the first interface {} leads to the node", first.name)),
        false => (Mode::Underlay, format!("the first interface {} does not lead to the node", first.name)),
    }
}
