//! One pass of each flow with every request, answer and value shown: the debugger.

use std::{fmt::Write as _, sync::Arc};

use hyper::header::AUTHORIZATION;

use super::{Setting, TrialError, servers::Servers, stage::Stage};
use crate::{
    lab::RunDirectory,
    sample::Outcome,
    target::{self, Answer, Reply, Sessions},
    units::format_duration,
    workload::{Action, HttpRequest, Request, Secrets, Step, Template, Values, Workload},
};

/// More of a body is not shown.
const SHOWN_BODY: usize = 2000;

/// More rows are not shown.
const SHOWN_ROWS: usize = 20;

/// Something that happened, as text for people; secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What was asked, answered and saved.
    pub text: String,
    /// Whether it was as expected.
    pub ok: bool,
}

/// Performs setup, each flow once, and teardown.
///
/// # Errors
/// When a target cannot be used or setup fails. A flow that fails is told in its exchange.
pub async fn once(
    workload: &Arc<Workload>,
    setting: &Setting,
    on_exchange: &mut dyn FnMut(Exchange),
) -> Result<(), TrialError> {
    RunDirectory::sweep();
    let directory = RunDirectory::new().map_err(TrialError::Directory)?;
    let servers = Servers::start(workload, setting, &directory).await?;
    for variant in workload.variants() {
        if let Some(name) = variant.variant_name() {
            on_exchange(Exchange {
                text: format!("══ variant {name} ══"),
                ok: true,
            });
        }
        once_on(variant, &servers, setting, on_exchange).await?;
    }
    for remains in servers.stop().await {
        on_exchange(Exchange {
            text: workload.secrets.mask(&remains),
            ok: false,
        });
    }
    Ok(())
}

async fn once_on(
    workload: &Arc<Workload>,
    servers: &Servers,
    setting: &Setting,
    on_exchange: &mut dyn FnMut(Exchange),
) -> Result<(), TrialError> {
    let stage = Stage::set_up(workload, servers, setting).await?;
    for (number, flow) in workload.flows.iter().enumerate() {
        on_exchange(Exchange {
            text: format!("── flow {} ──", flow.name),
            ok: true,
        });
        let mut debugger = Debugger {
            workload,
            sessions: Sessions::new(stage.connectors()),
            values: Values::new(workload),
            reply: Reply {
                keep: true,
                ..Reply::default()
            },
            on_exchange,
        };
        debugger.values.begin(number as u64, stage.globals());
        debugger.actions(&flow.actions).await;
    }
    let gone = stage.tear_down().await;
    let incidents = gone.incidents.into_iter().chain(gone.left_behind);
    for incident in incidents {
        on_exchange(Exchange {
            text: incident,
            ok: false,
        });
    }
    Ok(())
}

struct Debugger<'a, 'w> {
    workload: &'w Workload,
    sessions: Sessions,
    values: Values<'w>,
    reply: Reply,
    on_exchange: &'a mut dyn FnMut(Exchange),
}

impl Debugger<'_, '_> {
    /// Whether all went well; the first failure ends the pass.
    async fn actions(&mut self, actions: &[Action]) -> bool {
        for action in actions {
            let fine = match action {
                Action::Step(step) => self.step(step).await,
                Action::Pause(wait, purpose) => {
                    let pause = wait.length(self.workload.seed, *purpose, self.values.draw());
                    (self.on_exchange)(Exchange {
                        text: format!("pause {}", format_duration(pause)),
                        ok: true,
                    });
                    tokio::time::sleep(pause).await;
                    true
                }
                Action::Repeat { times, actions } => {
                    // One round shows what all do.
                    (self.on_exchange)(Exchange {
                        text: format!("repeat {times} times, shown once"),
                        ok: true,
                    });
                    Box::pin(self.actions(actions)).await
                }
            };
            if !fine {
                return false;
            }
        }
        true
    }

    async fn step(&mut self, step: &Step) -> bool {
        let mut text = format!("{}\n", step.name);
        self.write_request(step, &mut text);
        let outcome = target::perform(&mut self.sessions, step, &mut self.values, &mut self.reply).await;
        let took = format_duration(self.reply.end - self.reply.start);
        write_answer(&self.reply.answer, &took, &self.workload.secrets, &mut text);
        if let Outcome::Failed(class) = outcome {
            let _ = writeln!(
                text,
                "  FAILED {class}: {}",
                self.reply.message.as_deref().unwrap_or_default()
            );
        }
        for save in &step.save {
            let mut value = String::new();
            self.values.get(save.variable).write_json(&mut value);
            let _ = writeln!(text, "  saved {} = {value}", save.name);
        }
        let ok = outcome == Outcome::Completed;
        (self.on_exchange)(Exchange {
            text: self.workload.secrets.mask(text.trim_end()),
            ok,
        });
        ok
    }

    fn write_request(&mut self, step: &Step, text: &mut String) {
        match &step.request {
            Request::Http(http) => self.write_http(http, text),
            Request::ForEach(fan_out) => {
                let [first, each] = &fan_out.statements;
                self.write_statement(first, text);
                let sql = &self.workload.statements[each.index];
                let _ = writeln!(text, "  > for each row: {sql}");
            }
            Request::Copy(copy) => {
                self.write_statement(&copy.statement, text);
                let _ = writeln!(text, "  > {} such rows", copy.times);
            }
            request => {
                for statement in request.statements() {
                    self.write_statement(statement, text);
                }
            }
        }
        self.write_caches(step, text);
    }

    /// Nothing is cached here: every request is shown with its answer.
    fn write_caches(&mut self, step: &Step, text: &mut String) {
        if let Some(used) = &step.cache {
            let key = self.render(&used.key);
            let _ = writeln!(text, "  cache: the key would be \"{key}\"");
        }
        for write in &step.writes {
            let (key, name) = (self.render(&write.key), &self.workload.caches[write.cache].name);
            let what = if write.invalidate { "remove" } else { "make stale" };
            let _ = writeln!(text, "  cache: it would {what} \"{key}\" of {name}");
        }
    }

    fn write_http(&mut self, http: &HttpRequest, text: &mut String) {
        let mut path = String::new();
        http.path.render(&mut self.values, &mut path);
        let _ = writeln!(text, "  > {} {path}", http.method);
        for (name, value) in &http.headers {
            let template = http.rendered.iter().find(|(rendered, _)| rendered == name);
            let value = match (template, &http.credentials) {
                (Some((_, template)), _) => self.render(template),
                // Whatever the variables in it are, it is secret.
                (None, Some(credentials)) if name == AUTHORIZATION => format!("{} •••", credentials.scheme()),
                // Known only when it is sent.
                _ if value.is_empty() => continue,
                _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            let _ = writeln!(text, "  > {name}: {value}");
        }
        if let Some(body) = &http.body {
            let _ = writeln!(
                text,
                "  > {}",
                shown_body(&body.render(&mut self.values), &self.workload.secrets)
            );
        }
    }

    fn write_statement(&mut self, statement: &crate::workload::Statement, text: &mut String) {
        let _ = writeln!(text, "  > {}", self.workload.statements[statement.index]);
        for (number, parameter) in statement.parameters.iter().enumerate() {
            let mut value = String::new();
            parameter.value(&mut self.values).write_json(&mut value);
            let _ = writeln!(text, "  > ${} = {value}", number + 1);
        }
    }

    fn render(&mut self, template: &Template) -> String {
        let mut out = String::new();
        template.render(&mut self.values, &mut out);
        out
    }
}

fn write_answer(answer: &Answer, took: &str, secrets: &Secrets, text: &mut String) {
    match answer.status {
        Some(status) => {
            let _ = writeln!(text, "  < {status} in {took}, {} bytes", answer.body_bytes);
            for (name, value) in &answer.headers {
                let _ = writeln!(text, "  < {name}: {}", String::from_utf8_lossy(value.as_bytes()));
            }
            if !answer.body.is_empty() {
                let _ = writeln!(text, "  < {}", shown_body(&answer.body, secrets));
            }
        }
        None => {
            let _ = writeln!(
                text,
                "  < {} rows, {} changed, in {took}",
                answer.row_count, answer.affected
            );
            for row in answer.rows.iter().take(SHOWN_ROWS) {
                let _ = writeln!(text, "  < {}", serde_json::Value::Object(row.clone()));
            }
        }
    }
}

/// Text as it is; of other bytes, how many. Between the parts of a form both may stand.
fn shown_body(body: &[u8], secrets: &Secrets) -> String {
    let binary = |bytes: &[u8]| bytes.iter().any(|byte| *byte < b' ' && !b"\t\r\n".contains(byte));
    let lines: Vec<_> = body
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| (line, binary(line) || std::str::from_utf8(line).is_err()))
        .collect();
    let mut text = String::new();
    for run in lines.chunk_by(|(_, one), (_, other)| one == other) {
        let bytes: usize = run.iter().map(|(line, _)| line.len()).sum();
        match run[0].1 {
            true => {
                let _ = writeln!(text, "({bytes} bytes)");
            }
            false => run.iter().for_each(|(line, _)| text += &String::from_utf8_lossy(line)),
        }
    }
    // Masked before it is cut: half a secret would be none to the mask.
    shortened(&secrets.mask(text.trim_end()))
}

fn shortened(text: &str) -> String {
    if text.len() <= SHOWN_BODY {
        return text.to_owned();
    }
    let start: String = text.chars().take(SHOWN_BODY).collect();
    format!("{start} … ({} bytes)", text.len())
}
