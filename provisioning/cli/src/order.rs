//! Orders: asked for a challenge, signed here by the authority, carried by the daemon, carried out by the vault.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::{ChallengeAnswer, OrderAnswer, OrderRequest};
use holdfast_evidence::{Approval, Order, OrderText, SignedOrder, SigningKey};
use holdfast_types::{BoxName, Challenge};

use crate::ask::Session;
use crate::exit::Failure;

/// Gives an order to a box, by its name as it was at the pairing.
pub(crate) fn give(
    session: &mut Session,
    authority: &SigningKey,
    to: &BoxName,
    order: Order,
) -> Result<OrderAnswer, Failure> {
    order.check_form().map_err(|err| Failure::because(format!("the order {} cannot be given", order.kind()), err))?;
    let answer: ChallengeAnswer = session.act("/v1/vault/challenges")?;
    let challenge = checked(session, &answer, to)?;
    let order = sign(authority, *to, challenge, order);
    session.post("/v1/vault/orders", &OrderRequest { order })
}

/// The order as it travels.
pub(crate) fn sign(authority: &SigningKey, to: BoxName, challenge: Challenge, order: Order) -> String {
    base64(&SignedOrder::sign(&OrderText { to, challenge, order }, authority).to_bytes())
}

/// An approval as it travels.
pub(crate) fn base64_of_approval(approval: &Approval) -> String {
    base64(&approval.to_bytes())
}

/// Bytes in base64, as the API takes them.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A box that wants an order for another name than its own wants it for another box.
fn checked(session: &Session, answer: &ChallengeAnswer, to: &BoxName) -> Result<Challenge, Failure> {
    if answer.box_name.parse() != Ok(*to) {
        return Err(Failure::Distrust {
            name: session.name.clone(),
            why: "its vault has another name than at the pairing, so the TPM was changed or cleared. If you did that, pair \
                  the box anew"
                .to_owned(),
        });
    }
    answer.challenge.parse().map_err(|err| Failure::because("the box's challenge is none", err))
}

/// The order in a request, whoever signed it: for tests.
#[cfg(test)]
pub(crate) fn order_in(body: &[u8]) -> SignedOrder {
    let request: OrderRequest = serde_json::from_slice(body).unwrap();
    SignedOrder::from_bytes(&STANDARD.decode(request.order).unwrap()).unwrap()
}

/// The approval in a request: for tests.
#[cfg(test)]
pub(crate) fn approval_in(request: &holdfast_api::ApprovalRequest) -> Approval {
    Approval::from_bytes(&STANDARD.decode(&request.approval).unwrap()).unwrap()
}

#[cfg(test)]
mod tests {
    use holdfast_types::Epoch;
    use rand_core::OsRng;
    use serde_json::json;

    use super::*;
    use crate::ask::played;
    use crate::exit::Exit;

    const BOX: BoxName = BoxName([7; 32]);

    #[test]
    fn an_order_is_signed_for_the_box_and_its_challenge() {
        let key = SigningKey::random(&mut OsRng);
        let challenge = Challenge([9; 32]);
        let (mut session, asked) = played::session(vec![
            ("/v1/vault/challenges", json!({"boxName": BOX, "challenge": challenge})),
            ("/v1/vault/orders", json!({"signature": null})),
        ]);
        give(&mut session, &key, &BOX, Order::AcceptFloor { epoch: Epoch(5) }).unwrap();
        let body = asked.lock().unwrap()[1].body.clone().unwrap();
        let text = order_in(&body).verify(&key.public()).unwrap();
        assert_eq!(text, OrderText { to: BOX, challenge, order: Order::AcceptFloor { epoch: Epoch(5) } });
    }

    #[test]
    fn no_order_is_signed_for_a_box_of_another_name() {
        let key = SigningKey::random(&mut OsRng);
        let answer = json!({"boxName": BoxName([8; 32]), "challenge": Challenge([9; 32])});
        let (mut session, asked) = played::session(vec![("/v1/vault/challenges", answer)]);
        let failure = give(&mut session, &key, &BOX, Order::Reset).unwrap_err();
        assert_eq!(failure.exit(), Exit::NotPaired, "{failure}");
        assert_eq!(asked.lock().unwrap().len(), 1);
    }
}
