import Deliverer
import NIOCore
import SMTP
import Spool

/// What senders, administrators and recipients were told, and what must be true because of it.
///
/// One thread at a time.
final class QueueLedger: @unchecked Sendable {
    // Unchecked: the simulation has one thread.

    private(set) var posts: [MessageID: QueuedPost] = [:]
    /// In the order they came, so that one seed gives one run.
    private(set) var order: [QueuedPost] = []
    /// By address: no two recipients have the same.
    private var owners: [String: (post: QueuedPost, index: Int)] = [:]
    /// Those that left, whose names must never be seen again.
    private var former: Set<MessageID> = []
    /// The first promise that was broken.
    private(set) var found: String?

    func insert(_ post: QueuedPost) {
        posts[post.id] = post
        order.append(post)
        if post.isReport, post.message == nil { return }
        for (index, recipient) in post.recipients.enumerated() {
            owners["\(recipient.recipient.address)"] = (post, index)
        }
    }

    func fail(_ text: String) { if found == nil { found = text } }

    // MARK: Reports

    /// Takes note of a report that is in the queue for good.
    func register(_ envelope: MessageEnvelope, _ octets: ByteBuffer) {
        let post = QueuedPost(envelope, message: nil, added: ByteBuffer(), presence: .acknowledged)
        insert(post)
        var address: String?
        for line in String(buffer: octets).split(separator: "\r\n") {
            if line.hasPrefix("Final-Recipient: rfc822;") {
                address = line.split(separator: ";").last.map { String($0.drop { $0 == " " }) }
            } else if line.hasPrefix("Action: "), let name = address {
                address = nil
                guard let (about, index) = owners[name] else { continue }
                note(post.id, isFailure: line == "Action: failed", about, index)
            }
        }
    }

    private func note(_ report: MessageID, isFailure: Bool, _ post: QueuedPost, _ index: Int) {
        guard isFailure else {
            if let other = post.recipients[index].delay, other != report {
                fail("\(post.id) is late twice for recipient \(index): \(other), \(report)")
            }
            post.recipients[index].delay = report
            return
        }
        let recipient = post.recipients[index]
        let name = "\(recipient.recipient.address) of \(post.id)"
        if let other = recipient.report, other != report { fail("\(name) has failed twice: \(other), \(report)") }
        if recipient.isRecorded { fail("\(report) says that \(name) failed, and the delivery was recorded") }
        if recipient.isKnown { fail("\(report) says that \(name) failed, and the queue knew of the delivery") }
        post.recipients[index].report = report
    }

    // MARK: Requests

    /// A deliverer was asked.
    func requested(_ entry: SimulatedLink.Request, isLocal: Bool) {
        let request = entry.request
        guard let id = MessageID(request.id) else { return fail("\(request.id) is no message") }
        if former.contains(id) { return fail("\(id) has left, and is delivered") }
        if posts[id] == nil {
            var envelope = MessageEnvelope(
                id: id,
                arrived: request.arrived,
                sender: request.sender,
                recipients: request.recipients
            )
            envelope.client = "local"
            guard request.sender.path.address == nil, let octets = request.message else {
                return fail("\(id) is a message of nobody")
            }
            register(envelope, octets)
        }
        guard let post = posts[id] else { return }
        switch post.presence {
        case .uncertain: fail("\(id) was not acknowledged, and is delivered")
        case .gone: fail("\(id) has left, and is delivered")
        case .acknowledged: break
        }
        if post.isHeld == true { fail("\(id) is held, and is delivered") }
        if let message = post.message {
            if request.added != post.added || request.message.map({ $0 != message }) ?? false
                || request.octets != message.readableBytes || request.sender != post.envelope.sender
            {
                fail("\(id) was changed")
            }
        }
        for recipient in request.recipients { ask(post, recipient, request.mayBeKnown) }
        let domains = Set(request.recipients.map(\.address.lowercasedDomain))
        if let destination = request.destination, domains != [destination] { fail("\(id) goes astray: \(domains)") }
        if isLocal != (request.destination == nil) { fail("\(id) goes to the wrong deliverer") }
    }

    private func ask(_ post: QueuedPost, _ wanted: EnvelopeRecipient, _ mayBeKnown: Bool) {
        guard let index = index(of: wanted, post) else { return fail("\(wanted) is no recipient of \(post.id)") }
        let recipient = post.recipients[index]
        let name = "\(wanted.address) of \(post.id)"
        if recipient.isInFlight { fail("\(name) is delivered twice at the same time") }
        if recipient.isRecorded { fail("\(name) is delivered again, and that it has the message was recorded") }
        if recipient.isKnown { fail("\(name) is delivered again, and the queue knows that it has the message") }
        if recipient.isRemoved { fail("\(name) is delivered, and was removed") }
        if let report = recipient.report { fail("\(name) is delivered, and \(report) says that it failed") }
        if recipient.accepted > 0, !mayBeKnown { fail("\(name) is delivered again, and is said to be new") }
        post.recipients[index].isInFlight = true
    }

    func index(of recipient: EnvelopeRecipient, _ post: QueuedPost) -> Int? {
        post.recipients.firstIndex { $0.recipient == recipient }
    }

    // MARK: After a start

    /// Compares what is in the spool with what was promised. Afterwards what is there is what must be there.
    ///
    /// - Parameter expired: reports that came before are given up. Milliseconds since 1970.
    func examine(_ spool: Spool, shards: Int, expired: Int64) {
        do throws(SpoolError) {
            var places: [(id: MessageID, isHeld: Bool)] = []
            for shard in 0..<shards { places += try spool.messages(shard: shard).map { ($0, false) } }
            places += try spool.heldMessages().map { ($0, true) }
            for (id, isHeld) in places where posts[id] == nil {
                if former.contains(id) { return fail("\(id) has come back") }
                let content = try spool.content(of: id, isHeld: isHeld, verified: true, messageLimit: .max)
                guard content.head.envelope.sender.path.address == nil, let octets = content.message else {
                    return fail("\(id) is a message of nobody")
                }
                register(content.head.envelope, octets)
            }
            var there: [MessageID: Bool] = [:]
            for (id, isHeld) in places where there.updateValue(isHeld, forKey: id) != nil {
                return fail("\(id) is there twice")
            }
            for post in order { try examine(post, there[post.id], spool, expired: expired) }
        } catch {
            fail("what is there can't be read: \(error)")
        }
        for post in order where post.presence == .gone {
            former.insert(post.id)
            posts[post.id] = nil
            for recipient in post.recipients { owners["\(recipient.recipient.address)"] = nil }
        }
        order.removeAll { $0.presence == .gone }
    }

    private func examine(
        _ post: QueuedPost,
        _ place: Bool?,
        _ spool: Spool,
        expired: Int64
    ) throws(SpoolError) {
        for index in post.recipients.indices {
            post.recipients[index].isKnown = false
            post.recipients[index].isInFlight = false
        }
        post.changes = 0
        guard let isHeld = place else {
            if post.presence == .acknowledged {
                let isExpired = post.envelope.arrived * 1000 <= expired
                for recipient in post.recipients where !post.isAccountedFor(recipient, isExpired: isExpired) {
                    fail("\(post.id) is lost for \(recipient.recipient.address)")
                }
            }
            post.presence = .gone
            return
        }
        if post.presence == .gone { fail("\(post.id) has come back") }
        post.presence = .acknowledged
        if let known = post.isHeld, known != isHeld { fail("\(post.id) is not where it was put") }
        post.isHeld = isHeld
        // What was asked for and never acknowledged did not happen.
        post.isRemovalWanted = false
        post.isBounceWanted = false
        var final: Set<Int> = []
        for entry in try spool.state(of: post.id) {
            guard case .final(let action, _) = entry.event, post.recipients.indices.contains(entry.recipient - 1)
            else { continue }
            let index = entry.recipient - 1
            let recipient = post.recipients[index]
            final.insert(index)
            if action == .failed {
                if recipient.isRemovalWanted { post.recipients[index].isRemoved = true }
                if recipient.report == nil, !post.isReport, !recipient.isRemovalWanted, !recipient.isRemoved {
                    fail("\(recipient.recipient.address) failed in secret")
                }
            } else {
                if recipient.accepted == 0 { fail("\(recipient.recipient.address) has nothing, and is done with") }
                post.recipients[index].isRecorded = true
            }
        }
        for index in post.recipients.indices {
            post.recipients[index].isRemovalWanted = false
            post.recipients[index].isBounceWanted = false
        }
        for (index, recipient) in post.recipients.enumerated() where recipient.isRemoved && !final.contains(index) {
            fail("\(post.id): that it's removed for \(recipient.recipient.address) was acknowledged, and is forgotten")
        }
        for (index, recipient) in post.recipients.enumerated() where recipient.isRecorded && !final.contains(index) {
            fail("\(post.id): that \(recipient.recipient.address) has it was recorded, and is forgotten")
        }
    }
}
