//! Several writes as one transaction: all of them or none.

use std::borrow::Cow;

use jute::reply::{Body, MultiResult};
use jute::{ErrorCode, OpCode};

use super::apply::{Context, single};
use super::{Draft, Refusal, Write};

/// Decides a multi. A refusal inside is no refusal of the multi: the reply tells, operation by
/// operation, which one failed.
///
/// # Errors
///
/// [`Refusal::Malformed`]: upstream could not even read it.
///
/// Source: ZooKeeper, `PrepRequestProcessor`, `OpCode.multi`, and `MultiResponse`.
pub(super) fn multi(
    draft: &mut Draft<'_>,
    context: &Context<'_>,
    writes: &[Write],
) -> Result<Body, Refusal> {
    let writes: Vec<Cow<'_, Write>> = writes.iter().map(recast).collect::<Result<_, _>>()?;
    let mut failed = None;
    let attempted = draft.attempt(|draft| {
        let mut results = Vec::with_capacity(writes.len());
        for (position, write) in writes.iter().enumerate() {
            let body = single(draft, context, write).inspect_err(|refusal| {
                failed = Some((position, refusal.code()));
            })?;
            results.push(MultiResult::Done(result_op(write, &body), body));
        }
        Ok(results)
    });
    let results = attempted.unwrap_or_else(|_| {
        let (position, code) = failed.unwrap_or((0, ErrorCode::RuntimeInconsistency));
        let result = |index: usize| match index.cmp(&position) {
            std::cmp::Ordering::Less => ErrorCode::Ok,
            std::cmp::Ordering::Equal => code,
            std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency,
        };
        (0..writes.len()).map(|index| MultiResult::Failed(result(index))).collect()
    });
    Ok(Body::Multi(results))
}

/// The write that upstream reads from this one: inside a multi the flags of a creation decide what it
/// is where they can, and not its operation.
///
/// Source: ZooKeeper, `MultiOperationRecord.deserialize`, `Op.create`.
fn recast(write: &Write) -> Result<Cow<'_, Write>, Refusal> {
    let Write::Create { op, flags, .. } = write else { return Ok(Cow::Borrowed(write)) };
    let meant = match (*op, *flags) {
        (OpCode::CreateTtl, 0..=3) => OpCode::Create,
        (_, 4) => OpCode::CreateContainer,
        (OpCode::CreateTtl, _) | (_, 0..=3) => *op,
        _ => return Err(Refusal::Malformed),
    };
    if meant == *op {
        return Ok(Cow::Borrowed(write));
    }
    let mut write = write.clone();
    if let Write::Create { op, .. } = &mut write {
        *op = meant;
    }
    Ok(Cow::Owned(write))
}

/// The operation by which a result is marked: every creation that returns a `Stat` is a `create2`.
fn result_op(write: &Write, body: &Body) -> OpCode {
    match (write, body) {
        (Write::Create { .. }, Body::PathStat(..)) => OpCode::Create2,
        (Write::Create { .. }, _) => OpCode::Create,
        (Write::Delete { .. }, _) => OpCode::Delete,
        (Write::SetData { .. }, _) => OpCode::SetData,
        _ => OpCode::Check,
    }
}
