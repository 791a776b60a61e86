//! What is shown to a registry that asks who is there: a password, or a token that is had for it ("Token Authentication
//! Specification" and "OAuth2 Token Authentication" of the distribution project).

use std::thread;

use ureq::Body;
use ureq::http::{Response, StatusCode};

use super::challenge::Challenge;
use super::credentials::Credentials;
use super::patience::{TRIES, is_by_chance, pause};
use super::{MAX_JSON, Registry};
use crate::error::{Failure, Result};

impl Registry {
    /// The value of a header `Authorization` that answers the challenge; `None` where there is nothing to answer with.
    pub(super) fn authorize(
        &self,
        challenge: &Challenge,
        what: &dyn Fn() -> String,
    ) -> Result<Option<String>> {
        let Challenge::Bearer { realm, service, scope } = challenge else {
            return Ok(self.credentials.basic());
        };
        let failed = |error: ureq::Error| {
            Failure::new(format!("{}: there is no token from {realm}", what()))
                .because(error)
                .hint("try again")
        };
        let asked = [("service", service), ("scope", scope)];
        let asked: Vec<(&str, &str)> =
            asked.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))).collect();
        let mut tried = 1;
        let mut response = loop {
            match self.ask_for_token(realm, &asked) {
                Err(error) if is_by_chance(&error, true) && tried < TRIES => thread::sleep(pause(tried)),
                outcome => break outcome.map_err(failed)?,
            }
            tried += 1;
        };
        if !response.status().is_success() {
            let status = response.status();
            let said = said(&mut response);
            let message = format!("{}: {realm} answered {status}{said}", what());
            return Err(Failure::new(message).hint(format!("log in: `docker login {}`", self.host)));
        }
        let text = response.body_mut().with_config().limit(MAX_JSON).read_to_string().map_err(failed)?;
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        // "For compatibility with OAuth 2.0, we will also accept token under the name access_token."
        let token = [&answer["token"], &answer["access_token"]];
        let token = token.into_iter().filter_map(|token| token.as_str()).find(|token| !token.is_empty());
        match token {
            Some(token) => Ok(Some(format!("Bearer {token}"))),
            None => Err(Failure::new(format!("{}: the answer of {realm} has no token", what()))
                .hint(format!("log in again: `docker login {}`", self.host))),
        }
    }

    fn ask_for_token(&self, realm: &str, asked: &[(&str, &str)]) -> Result<Response<Body>, ureq::Error> {
        let asked = asked.iter().copied();
        if let Credentials::IdentityToken(token) = &self.credentials {
            let form =
                [("grant_type", "refresh_token"), ("client_id", "coil"), ("refresh_token", token.as_str())];
            return self.agent.post(realm).send_form(form.into_iter().chain(asked));
        }
        let mut request = self.agent.get(realm).query_pairs(asked);
        if let Some(basic) = self.credentials.basic() {
            request = request.header("authorization", basic);
        }
        request.call()
    }
}

/// What went wrong, in the registry's words ("Error Codes") or in those of OAuth 2 (RFC 6749, 5.2), after a comma.
pub fn said(response: &mut Response<Body>) -> String {
    let text = response.body_mut().with_config().limit(1 << 16).read_to_string().unwrap_or_default();
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let error = &answer["errors"][0];
    let words = [&error["message"], &error["code"], &answer["error_description"], &answer["error"]];
    let words = words.into_iter().filter_map(|words| words.as_str()).find(|words| !words.is_empty());
    // It goes to a terminal.
    let plain = |words: &str| words.chars().filter(|c| !c.is_control()).take(300).collect::<String>();
    words.map(|words| format!(", {}", plain(words))).unwrap_or_default()
}

/// What to do about a refusal.
pub fn way_out(status: StatusCode, host: &str, retry_after: Option<u64>) -> String {
    match (status, retry_after) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
            format!("log in with a user who may write there: `docker login {host}`")
        }
        (StatusCode::NOT_FOUND, _) => {
            "look at the name; some registries want a repository to be made first".into()
        }
        (StatusCode::PAYLOAD_TOO_LARGE, _) => {
            "ask who runs the registry, or the proxy in front of it, to take larger blobs".into()
        }
        (_, Some(seconds)) => format!("it wants to be left alone: try again in {seconds} s"),
        (StatusCode::TOO_MANY_REQUESTS, None) => {
            "try again later; it takes more from whoever is logged in".into()
        }
        _ => "try again later, or ask who runs the registry".into(),
    }
}
