//! Exchanges over a scripted connection: what is sent, when, and whether the connection can be reused.

use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use proptest::prelude::*;

use super::body::{BrokenOff, ResponseBody};
use super::connection::Connection;
use super::exchange::Unanswered;
use super::head::Head;
use super::script::{Script, Step, Take, drive};

const HEAD: &[u8] = b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n";
const BODY: &[u8] = b"body";
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
const REFUSAL: &str = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";

fn bytes(text: &str) -> Step {
    Step::Bytes(text.as_bytes().to_vec())
}

/// Returns how an exchange ends, or `None` if it still waits.
fn exchange(script: &Script) -> Option<Result<(Head, ResponseBody<Script>), Unanswered>> {
    let connection = Connection::new(script.clone());
    drive(pin!(connection.exchange(HEAD, BODY)))
}

fn answered(script: &Script) -> (u16, ResponseBody<Script>) {
    let (head, body) = exchange(script).unwrap().unwrap();
    (head.status.as_u16(), body)
}

fn next(body: &mut ResponseBody<Script>) -> Option<Option<Result<Bytes, BrokenOff>>> {
    drive(pin!(poll_fn(|cx| body.poll(cx))))
}

/// Returns the pieces of a body as they come in, and whether it ended properly.
fn pieces(body: &mut ResponseBody<Script>) -> (Vec<Bytes>, bool) {
    let mut pieces = Vec::new();
    loop {
        match next(body) {
            Some(Some(Ok(piece))) => pieces.push(piece),
            Some(Some(Err(BrokenOff))) => return (pieces, false),
            Some(None) => return (pieces, true),
            None => panic!("the body waits"),
        }
    }
}

#[test]
fn head_and_body_leave_with_one_write_and_a_flush() {
    let script = Script::new(HEAD.len() + BODY.len(), [bytes(ANSWER)]);
    assert_eq!(answered(&script).0, 200);
    assert_eq!(script.written(), ([HEAD, BODY].concat(), 1));
    assert!(script.is_flushed());
}

#[test]
fn content_that_comes_with_the_head_is_the_beginning_of_the_body() {
    let script = Script::new(
        1,
        [bytes("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nb"), bytes("c\r\n0\r\n\r\n")],
    );
    let (_, mut body) = answered(&script);
    assert_eq!(pieces(&mut body), (vec![Bytes::from("ab"), Bytes::from("c")], true));
    assert!(body.into_connection().is_some_and(|mut connection| connection.is_reusable()));
}

#[test]
fn a_connection_that_ended_or_was_not_silent_before_the_request_gets_none_of_it() {
    for before in [Step::End, Step::Break, bytes(ANSWER), bytes("x")] {
        let script = Script::new(0, [before.clone()]);
        assert_eq!(exchange(&script).unwrap().err(), Some(Unanswered::Unsent), "{before:?}");
        assert_eq!(script.written(), (vec![], 0), "{before:?}");
        assert!(!Connection::new(Script::new(0, [before.clone()])).is_reusable(), "{before:?}");
    }
    let silent = Script::new(0, []);
    assert!(Connection::new(silent.clone()).is_reusable());
    assert!(exchange(&silent).is_none());
}

#[test]
fn a_connection_that_ends_before_and_one_that_breaks_within_an_answer_are_told_apart() {
    for after in [Step::End, Step::Break] {
        let script = Script::new(1, [after.clone()]).taking([Take::Bytes(1)]);
        assert_eq!(exchange(&script).unwrap().err(), Some(Unanswered::NoByte), "{after:?}");
    }
    for after in [bytes("x"), bytes("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n")] {
        let script = Script::new(1, [after.clone()]).taking([Take::Bytes(1)]);
        assert_eq!(exchange(&script).unwrap().err(), Some(Unanswered::Broken), "{after:?}");
    }
    let cut = Script::new(1, [bytes("HTTP/1.1 200 OK\r\ncontent-le"), Step::End]);
    assert_eq!(exchange(&cut).unwrap().err(), Some(Unanswered::Broken));
    // a write that failed may have sent a part: TLS does not report that
    let broken = Script::new(0, [Step::Pause, Step::End]).taking([Take::Break]);
    assert_eq!(exchange(&broken).unwrap().err(), Some(Unanswered::NoByte));
    let full = Script::new(0, [Step::Pause, Step::End]).taking([Take::Bytes(0)]);
    assert_eq!(exchange(&full).unwrap().err(), Some(Unanswered::NoByte));
}

#[test]
fn an_upstream_that_accepts_before_it_has_read_the_request_is_sent_the_rest() {
    let script =
        Script::new(1, [bytes(ANSWER), bytes("ok")]).taking([Take::Bytes(5), Take::Pause, Take::Bytes(3), Take::Pause]);
    let (status, mut body) = answered(&script);
    assert_eq!((status, script.written().0), (200, [HEAD, BODY].concat()));
    assert_eq!(pieces(&mut body), (vec![Bytes::from("ok")], true));
    assert!(body.into_connection().is_some());
}

#[test]
fn an_upstream_that_refuses_before_it_has_read_the_request_is_not_sent_the_rest_and_not_asked_again() {
    let script = Script::new(1, [bytes(REFUSAL)]).taking([Take::Bytes(5), Take::Pause]);
    let (status, mut body) = answered(&script);
    assert_eq!((status, script.written().0.len()), (413, 5));
    assert_eq!(pieces(&mut body), (vec![], true));
    assert!(body.into_connection().is_none());
}

#[test]
fn an_answer_that_came_before_the_connection_took_no_more_is_read_and_the_last() {
    for (answer, rest) in [(REFUSAL, ""), (ANSWER, "ok")] {
        let read = [bytes(answer), bytes(rest)]
            .into_iter()
            .filter(|step| !matches!(step, Step::Bytes(bytes) if bytes.is_empty()));
        let script = Script::new(1, read).taking([Take::Bytes(5), Take::Break]);
        let (_, mut body) = answered(&script);
        assert_eq!((pieces(&mut body).1, script.written().0.len()), (true, 5));
        assert!(body.into_connection().is_none());
    }
}

#[test]
fn interim_heads_are_skipped_and_101_ends_the_use_of_the_connection() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\na: b\r\n\r\n";
    let script = Script::new(1, [bytes(interim), Step::Pause, bytes(interim), bytes(&format!("{ANSWER}ok"))]);
    let (status, mut body) = answered(&script);
    assert_eq!((status, pieces(&mut body)), (200, (vec![Bytes::from("ok")], true)));
    let script = Script::new(1, [bytes("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n")]);
    let (status, mut body) = answered(&script);
    assert_eq!((status, pieces(&mut body)), (101, (vec![], true)));
    assert!(body.into_connection().is_none());
}

#[test]
fn what_follows_a_body_was_not_asked_for() {
    for rest in [vec![bytes("okHTTP/1.1")], vec![bytes("ok"), bytes("HTTP/1.1")], vec![bytes("ok"), Step::End]] {
        let script = Script::new(1, [bytes(ANSWER)].into_iter().chain(rest.clone()));
        let (_, mut body) = answered(&script);
        assert_eq!(pieces(&mut body), (vec![Bytes::from("ok")], true));
        assert!(!body.into_connection().is_some_and(|mut connection| connection.is_reusable()), "{rest:?}");
    }
}

#[test]
fn a_body_that_breaks_off_is_an_error_after_its_content_and_its_connection_the_last() {
    for (head, broken) in [
        ("content-length: 3", "ok"),
        ("transfer-encoding: chunked", "2\r\nok\r\n"),
        ("transfer-encoding: chunked", "2\r\nokx"),
        ("transfer-encoding: chunked", "2\r\nok\r\n0\r\n"),
    ] {
        for end in [Step::End, Step::Break] {
            let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
            let script = Script::new(1, [bytes(&head), bytes(broken), end]);
            let (_, mut body) = answered(&script);
            assert_eq!(pieces(&mut body), (vec![Bytes::from("ok")], false), "{broken:?}");
            assert!(body.into_connection().is_none());
        }
    }
    let script = Script::new(1, [bytes("HTTP/1.1 200 OK\r\n\r\n"), bytes("ok"), Step::Break]);
    assert_eq!(pieces(&mut answered(&script).1), (vec![Bytes::from("ok")], false));
    let script = Script::new(1, [bytes("HTTP/1.1 200 OK\r\n\r\n"), bytes("ok"), Step::End]);
    let (_, mut body) = answered(&script);
    assert_eq!(pieces(&mut body), (vec![Bytes::from("ok")], true));
    assert!(body.into_connection().is_none());
}

#[test]
fn a_body_that_was_not_read_to_its_end_gives_no_connection_back() {
    let script = Script::new(1, [bytes(ANSWER), bytes("o")]);
    let (_, mut body) = answered(&script);
    assert!(!body.is_ended());
    assert!(matches!(next(&mut body), Some(Some(Ok(_)))) && next(&mut body).is_none());
    assert!(body.into_connection().is_none());
    let script = Script::new(1, [bytes(&format!("{ANSWER}ok"))]);
    assert!(answered(&script).1.into_connection().is_none(), "content that was not read is still to come");
}

proptest! {
    #[test]
    fn however_a_connection_takes_a_request_all_of_it_is_sent_in_order_once(
        takes in prop::collection::vec(prop_oneof![(1..20_usize).prop_map(Take::Bytes), Just(Take::Pause)], 0..20),
        answer_after in 1..=HEAD.len() + BODY.len(),
        pauses in 0..5_usize,
    ) {
        let script = Script::new(answer_after, vec![Step::Pause; pauses].into_iter().chain([bytes(ANSWER), bytes("ok")]));
        let script = script.taking(takes);
        let (_, mut body) = answered(&script);
        prop_assert_eq!(script.written().0, [HEAD, BODY].concat());
        prop_assert!(pieces(&mut body).1);
        prop_assert!(body.into_connection().is_some());
    }
}
