use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use super::*;

/// A secret whose base64 differs between the two alphabets at every alignment, in both orders.
fn secret(seed: u8) -> [u8; 32] {
    let mut bytes: [u8; 32] = std::array::from_fn(|place| {
        let place = u8::try_from(place).unwrap();
        place.wrapping_mul(73).wrapping_add(seed.wrapping_mul(29)) ^ place.wrapping_mul(place)
    });
    // 0xfb 0xff 0xbf has a 62 or 63 in base64 wherever it is cut, forwards and backwards.
    bytes[4..7].copy_from_slice(&[0xfb, 0xff, 0xbf]);
    bytes[24..27].copy_from_slice(&[0xbf, 0xff, 0xfb]);
    bytes
}

/// All forms of a secret one after the other, with something of no meaning between.
fn planted(secret: &[u8; 32]) -> Vec<u8> {
    forms_of(secret).into_iter().flat_map(|(_, bytes)| [vec![b'!'; 11], bytes].concat()).collect()
}

fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// A process that read `bytes` into its memory, and nothing else of us.
struct Holder(Child);

impl Holder {
    fn of(bytes: &[u8]) -> Self {
        let script = "binmode STDIN; my $n = shift; read(STDIN, my $held, $n) == $n or die; print 'r'; \
                      close STDOUT; read(STDIN, my $end, 1);";
        let mut child = Command::new("perl")
            .args(["-e", script, &bytes.len().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("perl is part of every Debian and Ubuntu");
        child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
        let mut ready = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn each_form_alone_is_found_in_a_file() {
    let needles = Needles::of(&[secret(1), secret(2)]);
    for (form, bytes) in forms_of(&secret(2)) {
        let file = file_of(&[&noise(3000), bytes.as_slice(), &noise(99)].concat());
        let report = needles.scan_file(file.path()).unwrap();
        let place = Place::File { path: file.path().to_owned(), offset: 3000 };
        let expected = [Finding { secret: 1, form, part: Part::Whole, place }];
        assert_eq!(report.findings, expected, "{form}");
        assert_eq!(report.bytes_read, 3099 + bytes.len() as u64);
    }
}

#[test]
fn each_form_of_a_text_is_found_and_another_text_is_not() {
    let needles = Needles::of_texts(&["K7QM-3XTP-9", "correct horse battery staple"]);
    for (form, bytes) in forms_of_text("correct horse battery staple") {
        let file = file_of(&[&noise(3000), bytes.as_slice(), &noise(99)].concat());
        let found = needles.scan_file(file.path()).unwrap().findings;
        let place = Place::File { path: file.path().to_owned(), offset: 3000 };
        // Letters are the same in both alphabets of base64.
        assert!(found.contains(&Finding { secret: 1, form, part: Part::Whole, place }), "{form}: {found:?}");
    }
    assert!(needles.scan_file(file_of(b"K7QM-3XTP-8 and no horse").path()).unwrap().whole_forms().is_empty());
}

#[test]
fn half_of_each_form_is_found_too() {
    let needles = Needles::of(&[secret(1)]);
    for (form, bytes) in forms_of(&secret(1)) {
        let (first, last) = bytes.split_at(bytes.len() / 2);
        for (half, part) in [(first, Part::FirstHalf), (last, Part::LastHalf)] {
            let report = needles.scan_file(file_of(half).path()).unwrap();
            assert!(report.findings.iter().any(|found| found.form == form && found.part == part), "{form} {part:?}");
            assert_eq!(report.whole_forms(), BTreeSet::new());
        }
    }
}

#[test]
fn every_form_is_found_across_the_border_of_chunks() {
    let needles = Needles::of(&[secret(1)]);
    for (form, bytes) in forms_of(&secret(1)) {
        for inside in [1, bytes.len() / 2, bytes.len() - 1] {
            let mut search = Search::new(&needles);
            let head = [&noise(500), &bytes[..inside]].concat();
            search.push(7000, &head);
            search.push(7000 + head.len() as u64, &bytes[inside..]);
            let found = search.findings(|offset| Place::File { path: PathBuf::new(), offset });
            assert_eq!(found.len(), 1, "{form} at {inside}");
            assert_eq!((found[0].form, found[0].part), (form, Part::Whole));
            assert_eq!(found[0].place, Place::File { path: PathBuf::new(), offset: 7500 });
        }
    }
}

#[test]
fn a_file_of_several_chunks_is_read_to_its_end() {
    let needles = Needles::of(&[secret(1)]);
    let file = file_of(&[&noise(CHUNK - 9), planted(&secret(1)).as_slice(), &noise(2 * CHUNK), &secret(1)].concat());
    let report = needles.scan_file(file.path()).unwrap();
    assert_eq!(report.whole_forms(), needles.forms());
    assert_eq!(report.findings.iter().filter(|found| found.form == Form::Raw).count(), 2);
}

#[test]
fn a_gap_separates_what_lies_around_it() {
    let needles = Needles::of(&[secret(1)]);
    let mut search = Search::new(&needles);
    search.push(0, &secret(1)[..8]);
    search.push(4096, &secret(1)[8..16]);
    assert_eq!(search.found.len(), 0, "one half, were it not for the gap");
}

#[test]
fn each_form_is_found_in_the_memory_of_a_process() {
    let needles = Needles::of(&[secret(1), secret(2), secret(3)]);
    let holder = Holder::of(&planted(&secret(3)));
    let report = needles.scan_process(holder.0.id()).unwrap();
    for form in needles.forms() {
        let found = report.findings.iter().find(|found| found.form == form && found.part == Part::Whole);
        let found = found.unwrap_or_else(|| panic!("{form} is not found"));
        assert_eq!(found.secret, 2);
        assert!(matches!(&found.place, Place::Memory { pid, .. } if *pid == holder.0.id()));
    }
    assert!(report.bytes_read > 100_000, "read {} bytes only", report.bytes_read);
    assert_eq!(report.unread, []);
}

#[test]
fn a_process_without_the_secret_is_clean() {
    let needles = Needles::of(&[secret(1), secret(2)]);
    let holder = Holder::of(&planted(&secret(9)));
    let report = needles.scan_process(holder.0.id()).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.bytes_read > 100_000, "read {} bytes only", report.bytes_read);
}

#[test]
fn what_cannot_be_read_is_said() {
    let needles = Needles::of(&[secret(1)]);
    let memory = File::open("/proc/self/mem").unwrap();
    // The first page of an address space is never mapped, so that reading it fails as secret memory does.
    let mapping = Mapping::parse("0-3000 rw-s 00000000 00:00 7    /secretmem (deleted)").unwrap();
    let report = needles.scan_mapping(1, &memory, &mapping);
    assert_eq!((report.bytes_read, report.unread.len()), (0, 1));
    assert_eq!(report.unread[0].bytes, 0x3000);
    assert!(report.unread[0].what.contains("/secretmem"), "{:?}", report.unread);
}

#[test]
fn mappings_that_may_hold_data_are_chosen() {
    for (line, chosen) in [
        ("7f00-7f01 rw-p 00000000 00:00 0", true),
        ("7f00-7f01 r--p 00000000 00:00 0          [anon: sealed]", true),
        ("7f00-7f01 rw-s 00000000 00:01 9          /memfd:x (deleted)", true),
        ("7f00-7f01 rw-p 00000000 08:01 9          /usr/lib/x.so", true),
        ("7f00-7f01 r--p 00000000 08:01 9          /usr/lib/x.so", false),
        ("7f00-7f01 ---p 00000000 00:00 0", false),
        ("7f00-7f01 r--p 00000000 00:00 0          [vvar]", false),
    ] {
        assert_eq!(Mapping::parse(line).unwrap().may_hold_data(), chosen, "{line}");
    }
}

#[test]
fn a_folder_is_scanned_with_all_below_it_and_nothing_but_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::write(dir.path().join("a/b/deep"), secret(1)).unwrap();
    fs::write(dir.path().join("clean"), noise(5000)).unwrap();
    let _socket = UnixListener::bind(dir.path().join("a/socket")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("a/link")).unwrap();
    let report = Needles::of(&[secret(1)]).scan_dir(dir.path()).unwrap();
    let place = Place::File { path: dir.path().join("a/b/deep"), offset: 0 };
    assert_eq!(report.findings, [Finding { secret: 0, form: Form::Raw, part: Part::Whole, place }]);
    assert_eq!((report.bytes_read, report.unread), (5032, vec![]));
}

#[test]
fn noise_and_zeros_hold_nothing() {
    let secrets: Vec<[u8; 32]> = (0..64).map(secret).collect();
    let needles = Needles::of(&secrets);
    let file = file_of(&[noise(4 * CHUNK), vec![0; 4 * CHUNK]].concat());
    let report = needles.scan_file(file.path()).unwrap();
    assert_eq!((report.findings, report.bytes_read), (vec![], 8 * CHUNK as u64));
}
