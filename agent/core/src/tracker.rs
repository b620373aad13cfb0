//! What became of each duty, told step by step, and where it hung when it is missed.
//!
//! It only watches: nothing that a duty does depends on it, except that draining waits for what it says is under way.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{DutyId, Millis, OperatorIndex, Slot, ValidatorPublic};

use crate::io::{DutyEvent, DutyStep, Effect};
use crate::readiness::name_operators;
use crate::setup::Cluster;

/// The duties that are not over.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    duties: BTreeMap<DutyId, Track>,
}

/// What is known of one duty.
#[derive(Debug, Default)]
struct Track {
    /// The validators that are to attest; none as long as nobody says that there are any.
    expected: BTreeSet<ValidatorPublic>,
    has_data: bool,
    no_data: Option<String>,
    heard: BTreeSet<OperatorIndex>,
    decided: bool,
    withheld: Option<String>,
    refused: Option<String>,
    partials: BTreeMap<OperatorIndex, BTreeSet<ValidatorPublic>>,
    combined: BTreeSet<ValidatorPublic>,
    broadcast: usize,
    not_taken: Option<String>,
    reported: bool,
}

impl Tracker {
    /// The duty began for these validators.
    pub(crate) fn started(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        validators: BTreeSet<ValidatorPublic>,
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        let step = DutyStep::Started { validators: validators.len() };
        self.track(duty).expected = validators;
        tell(cluster, duty, step, now, out);
    }

    pub(crate) fn data_fetched(&mut self, cluster: &Cluster, duty: DutyId, now: Millis, out: &mut Vec<Effect>) {
        self.track(duty).has_data = true;
        tell(cluster, duty, DutyStep::DataFetched, now, out);
    }

    /// There is no data for this reason, so far.
    pub(crate) fn data_failed(&mut self, duty: DutyId, reason: String) {
        self.track(duty).no_data = Some(reason);
    }

    /// A verified consensus message of this operator came.
    pub(crate) fn heard(&mut self, duty: DutyId, operator: OperatorIndex) {
        self.track(duty).heard.insert(operator);
    }

    /// The cluster decided, for these validators.
    pub(crate) fn decided(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        round: u64,
        validators: BTreeSet<ValidatorPublic>,
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        let track = self.track(duty);
        track.decided = true;
        if track.expected.is_empty() {
            track.expected = validators;
        }
        tell(cluster, duty, DutyStep::Decided { round }, now, out);
    }

    /// The node is not in a mode to sign, for this reason, so far.
    pub(crate) fn withheld(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        reason: &str,
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        let track = self.track(duty);
        if track.withheld.as_deref() != Some(reason) {
            track.withheld = Some(reason.to_owned());
            tell(cluster, duty, DutyStep::Withheld { why: reason.to_owned() }, now, out);
        }
    }

    pub(crate) fn signed(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        signed: usize,
        refused: Vec<String>,
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        let track = self.track(duty);
        track.withheld = None;
        track.refused = refused.first().cloned();
        tell(cluster, duty, DutyStep::Signed { signed, refused }, now, out);
    }

    pub(crate) fn partials_from(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        operator: OperatorIndex,
        validators: &[ValidatorPublic],
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        self.track(duty).partials.entry(operator).or_default().extend(validators);
        tell(cluster, duty, DutyStep::PartialsFrom { operator, partials: validators.len() }, now, out);
    }

    pub(crate) fn combined(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        validators: impl IntoIterator<Item = ValidatorPublic>,
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        let track = self.track(duty);
        track.combined.extend(validators);
        let validators = track.combined.len();
        tell(cluster, duty, DutyStep::Combined { validators }, now, out);
    }

    pub(crate) fn broadcast(
        &mut self,
        cluster: &Cluster,
        duty: DutyId,
        attestations: usize,
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        let track = self.track(duty);
        track.broadcast += attestations;
        track.not_taken = None;
        tell(cluster, duty, DutyStep::Broadcast { attestations }, now, out);
    }

    /// The beacon node did not take the attestations, for this reason, so far.
    pub(crate) fn not_taken(&mut self, duty: DutyId, reason: String) {
        self.track(duty).not_taken = Some(reason);
    }

    /// Reports what was missed, when the slot after next begins, and forgets duties that are over.
    pub(crate) fn on_time(&mut self, cluster: &Cluster, now: Millis, out: &mut Vec<Effect>) {
        for (duty, track) in &mut self.duties {
            if track.is_open() && now >= report_at(cluster, *duty) {
                track.reported = true;
                let (validators, why) = (track.missing(), track.why(cluster));
                tell(cluster, *duty, DutyStep::Missed { validators, why }, now, out);
            }
        }
        self.duties.retain(|duty, _| cluster.duty_end(*duty) >= now);
    }

    pub(crate) fn next_wake(&self, cluster: &Cluster) -> Option<Millis> {
        self.duties.iter().filter(|(_, track)| track.is_open()).map(|(duty, _)| report_at(cluster, *duty)).min()
    }

    /// Whether every duty that began is whole, or was given up.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.duties.values().any(Track::is_open)
    }

    fn track(&mut self, duty: DutyId) -> &mut Track {
        self.duties.entry(duty).or_default()
    }
}

impl Track {
    /// Began, is not whole, and was not reported.
    fn is_open(&self) -> bool {
        !self.reported && self.missing() > 0
    }

    fn missing(&self) -> usize {
        self.expected.len().saturating_sub(self.broadcast)
    }

    /// At which step it hung, in words.
    fn why(&self, cluster: &Cluster) -> String {
        let lacking: Vec<ValidatorPublic> = self.expected.difference(&self.combined).copied().collect();
        if lacking.is_empty() {
            let reason = self.not_taken.as_deref().unwrap_or("it has not answered yet");
            return format!("signed by the cluster, but the beacon node did not take it: {reason}");
        }
        if !self.decided {
            return self.why_undecided(cluster);
        }
        let silent = |operator: &OperatorIndex| {
            let signed = self.partials.get(operator);
            lacking.iter().any(|validator| signed.is_none_or(|signed| !signed.contains(validator)))
        };
        let missing: Vec<OperatorIndex> = cluster.all_operators().filter(silent).collect();
        let own = if missing.contains(&cluster.own) { self.why_unsigned() } else { String::new() };
        let have = cluster.operators.count() - missing.len();
        let Some(names) = name_operators(missing) else {
            return "every operator's partial signatures are there, but they do not sign the same".to_owned();
        };
        format!(
            "too few partial signatures: {have} of the {} needed are there for every validator; missing: {names}{own}",
            cluster.threshold
        )
    }

    fn why_undecided(&self, cluster: &Cluster) -> String {
        let quiet = cluster.all_operators().filter(|peer| *peer != cluster.own && !self.heard.contains(peer));
        let quiet = name_operators(quiet).map_or(String::new(), |names| format!("; nothing was heard from {names}"));
        let data = match &self.no_data {
            Some(reason) if !self.has_data => format!("; our beacon node gave no data to propose: {reason}"),
            _ if !self.has_data => "; our beacon node gave no data to propose".to_owned(),
            _ => String::new(),
        };
        format!("the cluster did not decide what to sign{quiet}{data}")
    }

    fn why_unsigned(&self) -> String {
        match (&self.refused, &self.withheld) {
            (Some(refused), _) => format!("; our own was refused: {refused}"),
            (None, Some(reason)) => format!("; our own was held back: {reason}"),
            (None, None) => "; our own vault has not answered".to_owned(),
        }
    }
}

fn tell(cluster: &Cluster, duty: DutyId, step: DutyStep, now: Millis, out: &mut Vec<Effect>) {
    let after_ms = cast(now).saturating_sub(cast(cluster.duty_start(duty)));
    out.push(Effect::Duty(DutyEvent { duty, after_ms, step }));
}

fn cast(time: Millis) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

/// When the slot after next begins. Later an attestation is worth little, though it is still taken.
fn report_at(cluster: &Cluster, duty: DutyId) -> Millis {
    cluster.chain.slot_start(Slot(duty.slot.0.saturating_add(2)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::tests::cluster;

    const DUTY: DutyId = DutyId::attester(Slot(5));

    fn validators(count: u8) -> BTreeSet<ValidatorPublic> {
        (1..=count).map(|number| ValidatorPublic([number; 48])).collect()
    }

    /// Starts the duty of slot 5 for two validators, lets `steps` happen, and gives the report, if there is one.
    fn report(steps: impl FnOnce(&mut Tracker, &Cluster, Millis, &mut Vec<Effect>)) -> Option<(usize, String)> {
        let (cluster, mut tracker, mut out) = (cluster(2), Tracker::default(), Vec::new());
        let start = cluster.duty_start(DUTY);
        tracker.started(&cluster, DUTY, validators(2), start, &mut out);
        steps(&mut tracker, &cluster, start.plus(100), &mut out);
        let at = tracker.next_wake(&cluster);
        let mut out = Vec::new();
        tracker.on_time(&cluster, at.unwrap_or(Millis(1_084_000)), &mut out);
        assert!(tracker.is_quiet() && tracker.next_wake(&cluster).is_none());
        match out.pop()? {
            Effect::Duty(DutyEvent { step: DutyStep::Missed { validators, why }, .. }) => Some((validators, why)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_whole_duty_is_not_reported() {
        let whole = report(|tracker, cluster, now, out| {
            tracker.combined(cluster, DUTY, validators(2), now, out);
            tracker.broadcast(cluster, DUTY, 2, now, out);
        });
        assert_eq!(whole, None);
    }

    #[test]
    fn no_decision_names_the_silent_and_the_beacon_node() {
        let (missed, why) = report(|tracker, _, _, _| {
            tracker.heard(DUTY, OperatorIndex(2));
            tracker.data_failed(DUTY, "500".to_owned());
        })
        .unwrap();
        assert_eq!(missed, 2);
        assert_eq!(
            why,
            "the cluster did not decide what to sign; nothing was heard from operators 1, 3; \
             our beacon node gave no data to propose: 500"
        );
    }

    #[test]
    fn too_few_partials_name_who_is_missing_and_why_we_are() {
        let (_, why) = report(|tracker, cluster, now, out| {
            tracker.decided(cluster, DUTY, 1, validators(2), now, out);
            tracker.signed(cluster, DUTY, 0, vec!["double vote".to_owned()], now, out);
            tracker.partials_from(cluster, DUTY, OperatorIndex(1), &Vec::from_iter(validators(2)), now, out);
            tracker.partials_from(cluster, DUTY, OperatorIndex(2), &Vec::from_iter(validators(1)), now, out);
        })
        .unwrap();
        assert_eq!(
            why,
            "too few partial signatures: 1 of the 3 needed are there for every validator; \
             missing: operators 0, 2, 3; our own was refused: double vote"
        );
    }

    #[test]
    fn what_is_held_back_is_told_once_for_each_reason_and_in_the_report() {
        let mut told = Vec::new();
        let (_, why) = report(|tracker, cluster, now, _| {
            tracker.decided(cluster, DUTY, 1, validators(2), now, &mut Vec::new());
            for reason in ["lease", "lease", "disk"] {
                tracker.withheld(cluster, DUTY, reason, now, &mut told);
            }
        })
        .unwrap();
        let steps = told.iter().map(|effect| match effect {
            Effect::Duty(DutyEvent { step: DutyStep::Withheld { why }, .. }) => why.as_str(),
            other => panic!("{other:?}"),
        });
        assert_eq!(steps.collect::<Vec<_>>(), ["lease", "disk"]);
        assert!(why.ends_with("missing: operators 0, 1, 2, 3; our own was held back: disk"), "{why}");
    }

    #[test]
    fn a_beacon_node_that_takes_nothing_is_named_with_its_reason() {
        let (missed, why) = report(|tracker, cluster, now, out| {
            tracker.decided(cluster, DUTY, 1, validators(2), now, out);
            tracker.combined(cluster, DUTY, validators(2), now, out);
            tracker.broadcast(cluster, DUTY, 1, now, out);
            tracker.not_taken(DUTY, "400".to_owned());
        })
        .unwrap();
        assert_eq!((missed, why.as_str()), (1, "signed by the cluster, but the beacon node did not take it: 400"));
    }

    #[test]
    fn a_duty_that_only_peers_speak_of_is_not_ours_to_miss() {
        let (cluster, mut tracker, mut out) = (cluster(2), Tracker::default(), Vec::new());
        tracker.heard(DUTY, OperatorIndex(1));
        tracker.on_time(&cluster, report_at(&cluster, DUTY), &mut out);
        assert!(out.is_empty());
        tracker.on_time(&cluster, cluster.duty_end(DUTY).plus(1), &mut out);
        assert!(tracker.duties.is_empty(), "forgotten when it is over");
    }
}
