import Deliverer
import NIOCore
import Spool

extension Queue {
    /// Makes a message durable that is small enough for the journal, and takes it in.
    ///
    /// - Parameters:
    ///   - added: the block that goes in front of it.
    ///   - isHeld: whether it's put aside before it's tried.
    ///   - name: its Message-ID, if the log is to have it.
    ///   - done: told once it's in the queue, or why it isn't.
    package func accept(
        _ envelope: MessageEnvelope,
        _ message: ByteBuffer,
        added: ByteBuffer,
        isHeld: Bool = false,
        name: String? = nil,
        done: @escaping @Sendable (SpoolError?) -> Void
    ) {
        loop.assertInEventLoop()
        do throws(SpoolError) {
            try spool.requireSpace(for: message.readableBytes + added.readableBytes)
            let (file, head) = QueueFile.encode(envelope, message: message, added: added)
            let content = try Spool.content(of: file, head: head, messageLimit: DeliverRequest.inlineLimit)
            arrivals.announce(envelope.id)
            spool.commit([.put(envelope.id, file: file)]) { [self] error in
                // In the queue before its sender hears of it.
                if let error { done(error) } else { accepted(content, isHeld: isHeld, name: name) { done(nil) } }
            }
        } catch {
            done(error)
        }
    }

    /// Does the same with a message that was written to `incoming/`.
    package func accept(
        _ message: IncomingMessage,
        added: ByteBuffer,
        isQuarantined: Bool,
        isHeld: Bool = false,
        name: String? = nil,
        route: String? = nil,
        done: @escaping @Sendable (SpoolError?) -> Void
    ) {
        loop.assertInEventLoop()
        arrivals.announce(message.id)
        spool.perform { (_) throws(SpoolError) in
            try message.finish(added: added, isQuarantined: isQuarantined, route: route)
        } done: { [self] result in
            switch result {
            case .success(let head):
                let content = Spool.Content(head: head, isHeld: false, added: added, message: nil)
                accepted(content, isHeld: isHeld, name: name) { done(nil) }
            case .failure(let error): done(error)
            }
        }
    }

    private func accepted(
        _ content: Spool.Content,
        isHeld: Bool,
        name: String?,
        done: @escaping @Sendable () -> Void
    ) {
        let head = content.head
        counters.count("accepted")
        log.accepted(head.envelope.id, head.envelope, octets: head.octets, name: name)
        add(head, content: content)
        guard isHeld else { return done() }
        // In the same turn: nothing of it has begun. Where it can't be put aside, that is logged, and it goes its way.
        request(.hold, of: head.envelope.id) { _ in done() }
    }
}
