use std::os::unix::net::UnixListener;
use std::thread;

use nix::sys::socket::{Backlog, bind, listen};

use super::*;
use crate::samples::{self, VALIDATOR, fitting};

/// Runs `serve` as the vault behind a socket, for one connection after the other.
fn against(serve: impl Fn(usize, UnixStream) + Send + 'static, test: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            serve(number, stream.unwrap());
        }
    });
    test(&path);
}

fn request_of(stream: &mut UnixStream) -> Request {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).unwrap();
    let mut message = vec![0; codec::frame_len(header).unwrap()];
    stream.read_exact(&mut message).unwrap();
    codec::decode_request(&message).unwrap()
}

fn answer(stream: &mut UnixStream, response: &Response) {
    stream.write_all(&codec::encode_response(response).unwrap()).unwrap();
}

#[test]
fn no_vault_names_the_socket_and_the_remedy() {
    let error = Client::connect(Path::new("/nonexistent/vault.sock")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot connect to the vault at /nonexistent/vault.sock: is holdfast-vault running, and with this --socket?"
    );
}

#[test]
fn a_rejection_is_an_error_and_the_connection_goes_on() {
    let serve = |number, mut stream: UnixStream| {
        assert_eq!(number, 0, "one connection serves both calls");
        assert!(matches!(request_of(&mut stream), Request::IdentityKey));
        answer(&mut stream, &Response::Rejected(Rejection::NoIdentity));
        assert!(matches!(request_of(&mut stream), Request::IdentityKey));
        answer(&mut stream, &Response::IdentityKey(IdentityKey([7; 32])));
    };
    against(serve, |path| {
        let mut client = Client::connect(path).unwrap();
        let refused = client.identity_key().unwrap_err();
        assert!(matches!(refused, ClientError::Rejected { rejection: Rejection::NoIdentity, .. }), "{refused:?}");
        assert_eq!(client.identity_key().unwrap().0, [7; 32]);
    });
}

#[test]
fn a_vault_that_hung_up_is_asked_once_more() {
    let serve = |number, mut stream: UnixStream| {
        request_of(&mut stream);
        if number == 1 {
            answer(&mut stream, &Response::IdentityKey(IdentityKey([7; 32])));
        }
    };
    against(serve, |path| {
        let mut client = Client::connect(path).unwrap();
        assert_eq!(client.identity_key().unwrap().0, [7; 32]);
        assert!(matches!(client.identity_key(), Err(ClientError::HungUp { .. })));
    });
}

#[test]
fn a_silent_vault_times_out() {
    let kept = std::sync::Mutex::new(Vec::new());
    let serve = move |_, stream| kept.lock().unwrap().push(stream);
    against(serve, |path| {
        let mut client = Client::connect_with_timeout(path, Duration::from_millis(20)).unwrap();
        assert!(matches!(client.status(), Err(ClientError::TimedOut { .. })));
    });
}

#[test]
fn other_answers_and_garbage_are_named() {
    let serve = |number, mut stream: UnixStream| {
        request_of(&mut stream);
        match number {
            0 => answer(&mut stream, &Response::Signatures(vec![])),
            1 => stream.write_all(&[0xff; 64]).unwrap(),
            _ => stream.write_all(&[0, 0, 0, 1, 0x77]).unwrap(),
        }
    };
    against(serve, |path| {
        let mut client = Client::connect(path).unwrap();
        assert!(matches!(client.status(), Err(ClientError::WrongAnswer { .. })));
        let long = client.status().unwrap_err();
        assert!(matches!(long, ClientError::Codec { err: CodecError::FrameTooLong { .. }, .. }), "{long:?}");
        let garbage = client.status().unwrap_err();
        assert!(matches!(garbage, ClientError::Codec { err: CodecError::Undecodable, .. }), "{garbage:?}");
    });
}

/// Every request by the method that it has, and what came back: `None` for an answer of its kind.
fn every_method(client: &mut Client) -> Vec<(Request, Option<ClientError>)> {
    let mut called = Vec::new();
    for request in samples::requests() {
        let error = match &request {
            Request::Status => client.status().err(),
            Request::HistoryBackup { after } => client.history_backup(*after).err(),
            Request::IdentityKey => client.identity_key().err(),
            Request::CertifyTlsKey { key } => client.certify_tls_key(*key).err(),
            Request::Evidence { kind, nonce } => client.evidence(*kind, *nonce).err(),
            Request::RaiseLevel => client.raise_level().err(),
            Request::ApproveFirmware(approval) => client.approve_firmware(approval.clone()).err(),
            Request::SignAttestations(batch) => client.sign_attestations(batch.clone()).err(),
            Request::SignBlock(block) => client.sign_block(*block).err(),
            Request::SignRandao { epoch, validators } => client.sign_randao(*epoch, validators.clone()).err(),
            Request::SignSelection { slot, validators } => client.sign_selection(*slot, validators.clone()).err(),
            Request::SignSyncSelection { slot, selections } => {
                client.sign_sync_selection(*slot, selections.clone()).err()
            }
            Request::SignSyncMessage { slot, block_root, validators } => {
                client.sign_sync_message(*slot, *block_root, validators.clone()).err()
            }
            Request::SignAggregate(batch) => client.sign_aggregates(batch.clone()).err(),
            Request::SignContribution(batch) => client.sign_contributions(batch.clone()).err(),
            Request::Challenge => client.challenge().err(),
            Request::Order(order) => client.order(order.clone()).err(),
            Request::OrderLog { after } => client.order_log(*after).err(),
            Request::ActivateCredential(credential) => client.activate_credential(credential.clone()).err(),
        };
        called.push((request, error));
    }
    called
}

/// The bytes that tell one request from another, which have no equality.
fn bytes(request: &Request) -> Vec<u8> {
    codec::encode_request(request).unwrap().to_vec()
}

#[test]
fn every_method_sends_its_request_and_takes_its_answer() {
    let serve = |_, mut stream: UnixStream| {
        for expected in samples::requests() {
            let asked = request_of(&mut stream);
            // A wrong request is hung up on, which the client reports.
            if bytes(&asked) != bytes(&expected) {
                return;
            }
            answer(&mut stream, &fitting(&asked));
        }
    };
    against(serve, |path| {
        for (request, error) in every_method(&mut Client::connect(path).unwrap()) {
            assert!(error.is_none(), "{request:?}: {error:?}");
        }
    });
}

#[test]
fn no_method_takes_the_answer_to_another_request() {
    let serve = |number, mut stream: UnixStream| {
        let asked = request_of(&mut stream);
        let wrong = match (number % 2, &asked) {
            (0, Request::IdentityKey) => Response::Done,
            (0, _) => fitting(&Request::IdentityKey),
            (_, Request::Challenge) => Response::Done,
            _ => fitting(&Request::Challenge),
        };
        answer(&mut stream, &wrong);
    };
    against(serve, |path| {
        for _ in 0..2 {
            for (request, error) in every_method(&mut Client::connect(path).unwrap()) {
                assert!(matches!(error, Some(ClientError::WrongAnswer { .. })), "{request:?}: {error:?}");
            }
        }
    });
}

#[test]
fn a_batch_has_as_many_answers_as_entries_or_none() {
    for answers in [0, 2] {
        let serve = move |_, mut stream: UnixStream| {
            let asked = request_of(&mut stream);
            let signature = Ok(PartialSignature([1; 96]));
            match fitting(&asked) {
                Response::Signatures(_) => {
                    answer(&mut stream, &Response::Signatures(vec![signature; answers]));
                }
                other => answer(&mut stream, &other),
            }
        };
        against(serve, |path| {
            let mut batches = 0;
            for (request, error) in every_method(&mut Client::connect(path).unwrap()) {
                if matches!(fitting(&request), Response::Signatures(_)) {
                    batches += 1;
                    assert!(matches!(error, Some(ClientError::WrongAnswer { .. })), "{request:?}: {error:?}");
                }
            }
            assert_eq!(batches, 8, "kinds of requests for signatures");
        });
    }
}

#[test]
fn an_order_is_not_sent_twice() {
    let serve = |number, mut stream: UnixStream| {
        // The first connection dies with the order, later ones would carry it out.
        if matches!(request_of(&mut stream), Request::Order(_)) && number > 0 {
            answer(&mut stream, &fitting(&Request::Order(samples::order())));
        }
    };
    against(serve, |path| {
        let mut client = Client::connect(path).unwrap();
        let unknown = client.order(samples::order()).unwrap_err();
        assert!(matches!(unknown, ClientError::HungUp { .. }), "{unknown:?}");
        client.order(samples::order()).unwrap();
    });
}

#[test]
fn refusals_keep_their_place_in_the_batch() {
    let serve = |_, mut stream: UnixStream| {
        request_of(&mut stream);
        let refused = Err(SigningRefused::UnknownValidator(VALIDATOR));
        answer(&mut stream, &Response::Signatures(vec![Ok(PartialSignature([1; 96])), refused]));
    };
    against(serve, |path| {
        let mut client = Client::connect(path).unwrap();
        let answers = client.sign_randao(Epoch(1), vec![ValidatorPublic([1; 48]), VALIDATOR]).unwrap();
        assert_eq!(answers, [Ok(PartialSignature([1; 96])), Err(SigningRefused::UnknownValidator(VALIDATOR))]);
    });
}

/// A socket that listens and accepts nothing, with the queue as full as it gets.
fn full_queue(folder: &Path) -> (PathBuf, UnixListener, Vec<Client>) {
    let path = folder.join("vault.sock");
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(socket.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&socket, Backlog::new(1).unwrap()).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..16 {
        match Client::connect_with_timeout(&path, Duration::from_millis(20)) {
            Ok(client) => waiting.push(client),
            Err(ClientError::TimedOut { .. }) => return (path, UnixListener::from(socket), waiting),
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("the queue takes {} connections", waiting.len());
}

#[test]
fn a_vault_that_takes_no_connections_times_out() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _listener, waiting) = full_queue(folder.path());
    assert!(!waiting.is_empty());
    let error = Client::connect_with_timeout(&path, Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
}

#[test]
fn a_place_that_becomes_free_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (path, listener, waiting) = full_queue(folder.path());
    let expected = waiting.len() + 1;
    let accepting = thread::spawn(move || (0..expected).map(|_| listener.accept().unwrap().0).collect::<Vec<_>>());
    let client = Client::connect_with_timeout(&path, Duration::from_secs(30));
    assert!(client.is_ok(), "{client:?}");
    assert_eq!(accepting.join().unwrap().len(), expected);
}
