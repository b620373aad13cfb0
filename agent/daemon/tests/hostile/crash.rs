//! What is left on standard error when something goes wrong: enough to find it, and no token.

use std::process::Command;

use holdfastd::log;

#[test]
fn neither_a_log_line_nor_a_panic_tells_a_token() {
    if std::env::var_os(CHILD).is_some() {
        let _logs = log::start();
        tracing::error!(url = format!("http://{TOKEN}@192.0.2.1/{TOKEN}"), "as a library would");
        panic!("cannot reach http://ada:{TOKEN}@192.0.2.2:5052/{TOKEN}?key={TOKEN}");
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::neither_a_log_line_nor_a_panic_tells_a_token", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(!child.status.success(), "{out}");
    assert!(err.contains("192.0.2.1/…") && err.contains("panicked at") && err.contains("192.0.2.2:5052/…"), "{err}");
    assert!(!err.contains(TOKEN) && !out.contains(TOKEN), "{out}{err}");
    // What is no terminal gets JSON, also after its URLs were shortened.
    let line = err.lines().find(|line| line.contains("as a library would")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["level"], "ERROR");
}

const CHILD: &str = "HOLDFAST_TEST_CRASH";
const TOKEN: &str = "c0ffee1dea5eed";
