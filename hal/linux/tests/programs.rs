//! What `smartctl`, `chronyc` and `upsc` print: recorded outputs, and garbage.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::path::Path;

use holdfast_hal::clock::{ClockReading, Leap};
use holdfast_hal::power::UpsReading;
use holdfast_hal::storage::DiskReading;
use holdfast_hal_linux::{SmartError, parse_authdata, parse_smart, parse_tracking, parse_upsc};
use proptest::prelude::*;

fn smart(name: &str) -> DiskReading {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smart").join(format!("{name}.json"));
    parse_smart(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn nvme_drives_tell_wear_spare_and_temperature() {
    let worn = DiskReading {
        name: "nvme0n1".to_owned(),
        model: Some("Samsung SSD 980 500GB".to_owned()),
        passed: Some(true),
        critical_warning: Some(0),
        used_percent: Some(87),
        spare_percent: Some(94),
        spare_limit_percent: Some(10),
        media_errors: Some(0),
        temperature_c: Some(44),
        temperature_limit_c: Some(82),
        ..DiskReading::default()
    };
    assert_eq!(smart("nvme-worn"), worn);
    let used_up = smart("nvme-spare-used-up");
    assert_eq!((used_up.passed, used_up.critical_warning), (Some(false), Some(5)));
    assert_eq!((used_up.used_percent, used_up.spare_percent, used_up.media_errors), (Some(142), Some(8), Some(1931)));
    assert_eq!((used_up.temperature_c, used_up.temperature_limit_c), (Some(77), None));
}

#[test]
fn sata_drives_tell_the_same_in_other_words_and_a_stick_tells_nothing() {
    let sata = smart("sata-ssd");
    assert_eq!(
        (sata.name.as_str(), sata.passed, sata.media_errors),
        ("sda", Some(true), Some(7)),
        "5, 187, 197 and 198"
    );
    assert_eq!((sata.used_percent, sata.spare_percent, sata.spare_limit_percent), (Some(3), Some(100), Some(10)));
    assert_eq!((sata.temperature_c, sata.critical_warning), (Some(31), None));
    assert_eq!(smart("usb-stick"), DiskReading { name: "sdb".to_owned(), ..DiskReading::default() });
}

#[test]
fn what_no_smartctl_prints_is_refused_with_the_reason() {
    assert!(matches!(parse_smart(&vec![b' '; 2 << 20]), Err(SmartError::TooLong { len: 2_097_152 })));
    let deep = "[".repeat(100_000);
    let out_of_range = r#"{"nvme_smart_health_information_log": {"critical_warning": 256}}"#;
    for bad in ["", "smartctl 7.4: no such device", &deep, r#"{"smart_status": {"passed": "yes"}}"#, out_of_range] {
        let err = parse_smart(bad.as_bytes()).unwrap_err();
        assert!(err.to_string().contains("smartctl --json --all"), "{err}");
    }
}

/// Of chrony 4.6: reference, source, stratum, time, correction, two offsets, frequency, two errors of it, root delay and
/// dispersion, interval, leap.
const TRACKING: &str = "C0A80001,time.example,2,1763812345.123456789,-0.000412300,-0.000081912,0.000120000,\
                        -12.345,0.001,0.045,0.012345678,0.001234567,64.2,Normal\n";

#[test]
fn chrony_tells_source_offset_and_root() {
    let expected = ClockReading {
        source: Some("time.example".to_owned()),
        offset_us: Some(412),
        root_delay_us: Some(12_346),
        root_dispersion_us: Some(1_235),
        stratum: Some(2),
        leap: Some(Leap::Normal),
        ..ClockReading::default()
    };
    assert_eq!(parse_tracking(TRACKING), Some(expected));
    let lost = "00000000,,0,0.000000000,0.000000001,0.000000000,0.000000000,-0.001,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised";
    let lost = parse_tracking(lost).unwrap();
    assert_eq!((lost.source, lost.leap), (None, Some(Leap::Unsynchronised)));
    for (word, leap) in [("Insert second", Leap::Insert), ("Delete second", Leap::Delete)] {
        assert_eq!(parse_tracking(&TRACKING.replace("Normal", word)).unwrap().leap, Some(leap));
    }
}

/// Of chrony 4.3 (`chronyd -x`) against a server that was 100 ms ahead; `chronyc tracking` called it "seconds slow".
const SLOW: &str = "7F000001,127.0.0.1,2,1795797942.645124994,0.100036420,0.000001397,0.000004423,-0.001,0.024,4.330,\
                    0.000100756,0.000012635,1.0,Normal\n";

#[test]
fn a_clock_that_is_slow_has_a_negative_offset() {
    let slow = parse_tracking(SLOW).unwrap();
    assert_eq!((slow.offset_us, slow.root_delay_us, slow.root_dispersion_us), (Some(-100_036), Some(101), Some(13)));
    let bare = "127.0.0.1,-,0,0,0,4294967295,0,0,0,0\n";
    assert_eq!(parse_authdata(bare, slow.source.as_deref().unwrap()), Some(false));
}

#[test]
fn what_chrony_does_not_print_is_not_present() {
    for bad in
        ["", "506 Cannot talk to daemon", &TRACKING.replace("Normal", "Perhaps"), &format!("{},x", TRACKING.trim())]
    {
        assert_eq!(parse_tracking(bad), None, "{bad}");
    }
    let partly = parse_tracking(&TRACKING.replace("-0.000412300", "nan").replace("0.012345678", "-1.0")).unwrap();
    assert_eq!((partly.offset_us, partly.root_delay_us, partly.stratum), (None, None, Some(2)));
    assert_eq!(parse_tracking(&TRACKING.replace("-0.000412300", "1e300")).unwrap().offset_us, None);
}

#[test]
fn chrony_tells_whether_its_source_proves_itself() {
    let text = "time.example,NTS,1,15,256,3600,0,0,8,100\nplain.example,-,0,0,0,4294967295,0,0,0,0\n";
    assert_eq!(parse_authdata(text, "time.example"), Some(true));
    assert_eq!(parse_authdata(text, "plain.example"), Some(false));
    assert_eq!((parse_authdata(text, "other.example"), parse_authdata("", "")), (None, None));
}

const UPSC: &str = "battery.charge: 87\nbattery.charge.low: 10\nbattery.runtime: 1415.5\ndevice.mfr: EATON\n\
                    ups.load: 11\nups.status: OB DISCHRG LB\n";

#[test]
fn a_ups_tells_its_state_or_does_not_answer() {
    let expected = UpsReading {
        answers: true,
        on_battery: Some(true),
        low: Some(true),
        replace: Some(false),
        charge_percent: Some(87),
        runtime_s: Some(1415),
    };
    assert_eq!(parse_upsc(UPSC), expected);
    let calm = parse_upsc("ups.status: OL RB\nbattery.charge: 250\nbattery.runtime: -3\n");
    assert_eq!(
        (calm.on_battery, calm.replace, calm.charge_percent, calm.runtime_s),
        (Some(false), Some(true), None, None)
    );
    for silent in ["", "Error: Data stale\n", "battery.charge: 87\n"] {
        assert_eq!(parse_upsc(silent), UpsReading::default(), "{silent}");
    }
}

proptest! {
    /// Whatever these programs print, reading it does not panic.
    #[test]
    fn garbage_breaks_nothing(bytes in any::<Vec<u8>>(), cut in 0..200_usize, with in ".{0,12}") {
        _ = parse_smart(&bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        _ = (parse_tracking(&text), parse_upsc(&text), parse_authdata(&text, &with));
        for good in [TRACKING, UPSC] {
            let cut = cut.min(good.len());
            let changed = format!("{}{with}{}", &good[..cut], &good[cut..]);
            _ = (parse_tracking(&changed), parse_upsc(&changed));
        }
    }
}
