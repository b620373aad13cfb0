//! Who can open what is sealed, in which boot: release and authority together, and neither alone.

use holdfast_hal::tpm::UnsealPolicy;
use holdfast_hal_sim::Operation;
use holdfast_vault_client::ClosedId;

use super::approvals::PolicyFault;
use super::watched::Watched;
use super::*;

fn fault(machine: &Machine, papers: &Papers) -> PolicyFault {
    match machine.closed(papers) {
        SealError::Policy(fault) => fault,
        other => panic!("closed for another reason: {other}"),
    }
}

#[test]
fn an_update_of_the_system_needs_the_release_key_only() {
    let machine = Machine::with_shares(1);
    let before = machine.files();
    machine.tpm.set_pcr(PcrIndex(11), NEXT_IMAGE);
    let refused = fault(&machine, &Papers::usual());
    assert!(matches!(refused, PolicyFault::OtherImage { value: NEXT_IMAGE, .. }), "{refused:?}");
    assert!(refused.to_string().contains("register 11"), "{refused}");

    let mut papers = Papers::usual();
    papers.releases.push(Approval::of_image(&release(), BOARD, LEVEL, NEXT_IMAGE));
    assert!(machine.open_with(&papers).is_ok());
    assert_eq!(machine.files(), before, "the same file");
}

#[test]
fn an_update_of_the_firmware_needs_the_authority_only() {
    let machine = Machine::with_shares(1);
    let before = machine.files();
    machine.tpm.set_pcr(PcrIndex(7), NEXT_BOOT_STATE);
    let refused = fault(&machine, &Papers::usual());
    assert!(matches!(refused, PolicyFault::OtherBootState { value: NEXT_BOOT_STATE }), "{refused:?}");
    assert!(refused.to_string().contains("register 7 is 0808"), "{refused}");
    assert!(refused.to_string().contains("ApproveFirmware"), "{refused}");

    let mut papers = Papers::usual();
    papers.firmware.push(Approval::of_firmware(&authority(), NEXT_BOOT_STATE));
    assert!(machine.open_with(&papers).is_ok());
    assert_eq!(machine.files(), before, "the same file");
}

#[test]
fn neither_key_alone_opens_anything() {
    let machine = Machine::with_shares(1);
    for (who, papers) in [
        ("release key", Papers::of(&release(), &release())),
        ("authority", Papers::of(&authority(), &authority())),
        ("nobody", Papers::default()),
        ("stranger", Papers::of(&key(9), &key(9))),
        ("keys swapped", Papers::of(&authority(), &release())),
    ] {
        let refused = machine.closed(&papers);
        assert_eq!(refused.closed_id(), ClosedId::PolicyFailed, "{who}: {refused:?}");
    }
}

/// Approvals that are no good in themselves, shown to the TPM all the same.
#[test]
fn the_tpm_itself_refuses_what_software_would_not_show_it() {
    let machine = Machine::with_shares(1);
    let (_, bytes) = machine.only_file();
    let Read::Sealed(file) = SealedFile::read(&bytes, 3) else { panic!("the file is whole") };
    let by = |key: &SigningKey| (key.public(), Approval::of_firmware(key, BOOT_STATE));
    let (stranger, by_stranger) = by(&key(9));
    let (owner, by_owner) = by(&authority());
    let mut forged = by_stranger.clone();
    forged.signature = by_owner.signature;
    for (signer, approval) in
        [(stranger, &by_stranger), (owner, &by_stranger), (stranger, &by_owner), (stranger, &forged)]
    {
        let policy = UnsealPolicy {
            pcrs: vec![PcrIndex(7)],
            approved: approval.policy,
            policy_ref: approval.policy_ref.clone().into_bytes(),
            signer,
            signature: approval.signature,
            counter: GENERATION_COUNTER,
            counter_value: 3,
        };
        let refused = machine.tpm.clone().unseal(&file.halves.boot_state, &policy);
        assert!(matches!(refused, Err(TpmError::PolicyFailed { .. })), "{signer} {approval:?}");
        let true_policy = UnsealPolicy { signer: owner, signature: by_owner.signature, ..policy };
        assert!(machine.tpm.clone().unseal(&file.halves.boot_state, &true_policy).is_ok());
        assert!(machine.tpm.clone().unseal(&file.halves.image, &true_policy).is_err());
    }
}

#[test]
fn another_board_or_level_is_named() {
    let machine = Machine::with_shares(1);
    for (board, level) in [("other", LEVEL), (BOARD, LEVEL - 1), (BOARD, LEVEL + 1)] {
        let papers = Papers { releases: vec![Approval::of_image(&release(), board, level, IMAGE)], ..Papers::usual() };
        let refused = fault(&machine, &papers);
        assert!(matches!(&refused, PolicyFault::Unapproved { wanted } if wanted == "os/pc/3"), "{refused:?}");
    }
}

#[test]
fn registers_that_must_be_zero_are_named() {
    for register in [12, 13] {
        let machine = Machine::with_shares(1);
        machine.tpm.set_pcr(PcrIndex(register), [1; 32]);
        let refused = fault(&machine, &Papers::usual());
        assert!(
            matches!(refused, PolicyFault::NotZero { register: found, value: [1, ..] } if found == register),
            "{refused:?}"
        );
    }
}

#[test]
fn wrong_approvals_beside_the_right_ones_do_no_harm() {
    let machine = Machine::with_shares(1);
    let mut papers = Papers::of(&key(9), &key(9));
    papers.firmware.push(Approval::of_firmware(&authority(), NEXT_BOOT_STATE));
    papers.releases.push(Approval::of_image(&release(), BOARD, LEVEL, NEXT_IMAGE));
    papers.releases.extend(Papers::usual().releases);
    papers.firmware.extend(Papers::usual().firmware);
    let mut broken = papers.releases[0].clone();
    broken.policy_ref = "os/".into();
    papers.releases.insert(0, broken);
    assert!(machine.open_with(&papers).is_ok());
}

#[test]
fn a_raised_level_shuts_older_releases_out() {
    let machine = Machine::with_shares(1);
    let newer = Papers {
        releases: (1..=5).map(|level| Approval::of_image(&release(), BOARD, level, IMAGE)).collect(),
        ..Papers::usual()
    };
    assert_eq!(newer.approvals().level_of(&Approvals::image_now(&mut machine.tpm.clone()).unwrap()), Some(5));
    let (sealed, keys) = machine.open_with(&newer).map_err(|unopened| unopened.error).unwrap();
    let raised =
        sealed.next(&machine.disk(), &mut machine.tpm.clone(), sealed.constants.clone(), 5, &keys, 41).unwrap();
    assert_eq!(raised.level, 5);
    let refused = fault(&machine, &Papers::usual());
    assert!(matches!(&refused, PolicyFault::Unapproved { wanted } if wanted == "os/pc/5"), "{refused:?}");
    assert!(machine.open_with(&newer).is_ok());
}

#[test]
fn only_approvals_of_the_running_image_give_it_a_level() {
    let machine = Machine::new(1);
    let level = |releases: Vec<Approval>| {
        let papers = Papers { releases, ..Papers::default() };
        papers.approvals().level_of(&Approvals::image_now(&mut machine.tpm.clone()).unwrap())
    };
    assert_eq!(level(Vec::new()), None);
    let mut padded = Approval::of_image(&release(), BOARD, 7, IMAGE);
    padded.policy_ref = "os/pc/07".into();
    let others = vec![
        Approval::of_image(&key(9), BOARD, 8, IMAGE),
        Approval::of_image(&release(), "other", 8, IMAGE),
        Approval::of_image(&release(), BOARD, 8, NEXT_IMAGE),
        Approval::of_firmware(&release(), IMAGE),
        padded,
    ];
    assert_eq!(level(others.clone()), None);
    let own = [2, 6, 4].map(|level| Approval::of_image(&release(), BOARD, level, IMAGE));
    assert_eq!(level([others, own.to_vec()].concat()), Some(6));
    machine.tpm.set_pcr(PcrIndex(12), [1; 32]);
    assert_eq!(level(own.to_vec()), None);
}

#[test]
fn a_change_of_authority_shuts_the_old_one_out() {
    let machine = Machine::with_shares(1);
    machine.change(|constants, _| constants.authority = key(5).public());
    let refused = fault(&machine, &Papers::usual());
    assert!(matches!(refused, PolicyFault::OtherBootState { value: BOOT_STATE }), "{refused:?}");
    assert!(machine.open_with(&Papers::of(&release(), &key(5))).is_ok());
}

#[test]
fn registers_that_change_underneath_are_looked_at_again() {
    let mut papers = Papers::usual();
    papers.releases.push(Approval::of_image(&release(), BOARD, LEVEL, NEXT_IMAGE));
    for (changes, opens) in [(1, true), (2, true), (100, false)] {
        let machine = Machine::with_shares(1);
        let mut left = changes;
        let mut next = [NEXT_IMAGE, IMAGE];
        let mut tpm = Watched::new(&machine.tpm, |operation, tpm| {
            if operation == Operation::Unseal && left > 0 {
                left -= 1;
                tpm.set_pcr(PcrIndex(11), next[0]);
                next.swap(0, 1);
            }
            None
        });
        match open(&machine.disk(), &mut tpm, &papers.approvals(), KeyRoom::allocate().unwrap()) {
            Ok(Found::Open(..)) => assert!(opens, "opened after {changes} changes"),
            Ok(Found::Nothing(_)) => panic!("nothing is sealed"),
            Err(unopened) => {
                assert!(!opens, "{}", unopened.error);
                let changing = matches!(unopened.error, SealError::Policy(PolicyFault::Changing { .. }));
                assert!(changing, "{:?}", unopened.error);
            }
        }
    }
}
