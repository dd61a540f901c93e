import Bus
import NIOCore
import Network
import SMTP
import Spool

/// Answers the requests on control.sock (docs/protocols.md, "control.sock").
struct ControlSession {
    let queue: Queue

    /// Answers one request, with as many replies as it takes.
    func answer(_ request: Frame, on connection: Connection) async throws {
        let tag = request["tag"]
        guard let verb = Verb(rawValue: request.verb) else {
            connection.write(Frame.reply(.reject, status: .invalidCommand, text: "unknown verb", tag: tag))
            return
        }
        guard mayUse(verb, connection) else {
            let text =
                verb.isReadOnly ? "only for the administrator and the group martlet" : "only for the administrator"
            connection.write(Frame.reply(.reject, status: .notAuthorized, text: text, tag: tag))
            return
        }
        let filter: MessageFilter
        do throws(MessageFilter.Fault) { filter = try MessageFilter(request) } catch {
            connection.write(Frame.reply(.reject, status: .invalidArguments, text: error.text, tag: tag))
            return
        }
        switch verb {
        case .list: try await list(request, filter, on: connection)
        case .statistics: try await statistics(request, on: connection)
        case .summary: try await summary(request, filter, on: connection)
        case .show: connection.write(await show(request, filter))
        case .flush: connection.write(try await flush(request, filter))
        case .hold: connection.write(try await change(request, filter, .hold))
        case .release: connection.write(try await change(request, filter, .release))
        case .requeue: connection.write(try await change(request, filter, .requeue))
        case .reroute: connection.write(try await change(request, filter, .reroute(isAsked: true)))
        case .remove: connection.write(try await change(request, filter, .remove))
        case .expire: connection.write(try await change(request, filter, .expire))
        case .bounce:
            let text = request["text"] ?? "returned by the administrator"
            connection.write(try await change(request, filter, .bounce(text: text)))
        case .pause: connection.write(await pause(request))
        case .resume: connection.write(await resume(request))
        case .pauses: try await pauses(request, on: connection)
        }
    }

    private enum Verb: String {
        case list = "LIST"
        case statistics = "STATISTICS"
        case summary = "SUMMARY"
        case pauses = "PAUSES"
        case show = "SHOW"
        case flush = "FLUSH"
        case hold = "HOLD"
        case release = "RELEASE"
        case requeue = "REQUEUE"
        case reroute = "REROUTE"
        case remove = "REMOVE"
        case bounce = "BOUNCE"
        case expire = "EXPIRE"
        case pause = "PAUSE"
        case resume = "RESUME"

        var isReadOnly: Bool {
            switch self {
            case .list, .show, .statistics, .summary, .pauses: true
            case .flush, .hold, .release, .requeue, .reroute, .remove, .bounce, .expire, .pause, .resume: false
            }
        }
    }

    private func mayUse(_ verb: Verb, _ connection: Connection) -> Bool {
        guard let peer = connection.peerUser else { return false }
        if queue.settings.administrators.contains(peer) { return true }
        guard verb.isReadOnly, let readers = queue.settings.readers else { return false }
        return connection.peerGroups.contains(readers)
    }

    /// The request can't be understood.
    func malformed(_ request: Frame, _ text: String) -> Frame {
        .reply(.reject, status: .invalidArguments, text: text, tag: request["tag"])
    }

    /// There is no message of that name.
    func missing(_ id: MessageID, _ request: Frame, _ fields: [Frame.Field] = []) -> Frame {
        .reply(.reject, status: .notFound, text: "no such message: \(id)", tag: request["tag"], fields)
    }
}
