import Bus
import NIOCore
import Network
import SMTP
import Spool

/// Requests about mail that waits as it comes.
extension ControlSession {
    /// More is nothing that an administrator has made by hand.
    private static let maximumPauses = 10_000

    /// Of the administrator's words. Octets.
    private static let longestReason = 1024

    /// Begins a pause; it's in the spool when the reply comes.
    func pause(_ request: Frame) async -> Frame {
        let now = queue.clock.now()
        var request = request
        request["since"] = nil
        guard let pause = Pause(request, since: now / 1000) else {
            return malformed(request, "one of sender, account and destination, and until, a time, if it ends by itself")
        }
        guard !pause.isOver(at: now) else { return malformed(request, "until: that is over") }
        guard pause.reason?.utf8.count ?? 0 <= Self.longestReason else {
            return malformed(request, "reason: more than \(Self.longestReason) octets")
        }
        guard queue.schedule.pauses.count < Self.maximumPauses else {
            return .reply(.defer, status: .busy, text: "too many pauses", tag: request["tag"])
        }
        return await reply(request, count: 1) { queue.pause(pause, done: $0) }
    }

    /// Ends a pause, or all of them.
    func resume(_ request: Frame) async -> Frame {
        let known = queue.schedule.pauses.all.map(\.subject)
        if request["all"] == "yes" { return await reply(request, count: known.count) { queue.resume(known, done: $0) } }
        guard let subject = Pause.Subject(request) else {
            return malformed(request, "one of sender, account and destination; all: yes for all pauses")
        }
        guard known.contains(subject) else {
            return .reply(.reject, status: .notFound, text: "it is not paused", tag: request["tag"])
        }
        return await reply(request, count: 1) { queue.resume([subject], done: $0) }
    }

    private func reply(
        _ request: Frame,
        count: Int,
        _ change: (@escaping @Sendable (SpoolError?) -> Void) -> Void
    ) async -> Frame {
        let error = await withCheckedContinuation { continuation in change { continuation.resume(returning: $0) } }
        if let error {
            return .reply(.defer, status: .systemTrouble, text: "\(error)", tag: request["tag"])
        }
        return .ok(tag: request["tag"], [.init("count", String(count))])
    }

    /// A `PAUSE` for each.
    func pauses(_ request: Frame, on connection: Connection) async throws {
        let all = queue.schedule.pauses.all
        for (number, pause) in all.enumerated() {
            var frame = pause.frame
            if let tag = request["tag"] { frame["tag"] = tag }
            connection.write(frame)
            if connection.hasOutput { try await connection.flush() }
            if number % Self.writtenAtOnce == Self.writtenAtOnce - 1 { await queue.loop.letOthersGo() }
        }
        connection.write(Frame.ok(tag: request["tag"], [.init("count", String(all.count))]))
    }
}
