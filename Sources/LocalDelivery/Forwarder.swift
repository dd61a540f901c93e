import Deliverer
import NIOConcurrencyHelpers
import NIOCore
import Rewriting
import SMTP
import Submission

#if canImport(Glibc)
import Glibc
#endif

/// Resubmits a message for the addresses of an alias. Belongs to one event loop.
final class Forwarder: Sendable {
    private let submissions: SubmissionClient
    private let variesOwners: Bool
    /// nil where senders stay as they are.
    private let rewriting: ForwardedSender?
    private let domains = NIOLockedValueBox<Set<String>>([])
    private let clock: @Sendable () -> Int

    /// - Parameters:
    ///   - variesOwners: whether a list's owner is a sender of its own for each member.
    ///   - rewriting: how the senders of mail to other hosts are made ours.
    ///   - clock: seconds since 1970.
    init(
        _ submissions: SubmissionClient,
        variesOwners: Bool = false,
        rewriting: ForwardedSender? = nil,
        clock: @escaping @Sendable () -> Int = { time(nil) }
    ) {
        self.submissions = submissions
        self.variesOwners = variesOwners
        self.rewriting = rewriting
        self.clock = clock
    }

    /// Which domains are ours, as authd says.
    func know(domains names: [String]) { domains.withLockedValue { $0 = Set(names) } }

    /// The sender for other hosts, which may believe mail of its domain only from that domain's hosts (RFC 7208). Among ourselves, it
    /// stays.
    private func sender(_ sender: EnvelopeSender, to targets: [MailAddress]) -> EnvelopeSender {
        guard let rewriting, let address = sender.path.address else { return sender }
        let local = domains.withLockedValue { $0 }
        guard targets.contains(where: { !local.contains($0.lowercasedDomain) }),
            let rewritten = rewriting.rewritten(address, local: local, at: clock())
        else { return sender }
        var sender = sender
        sender.path = ReversePath(rewritten)
        return sender
    }

    /// What the sender wants to hear goes with the message (RFC 3461 §5.2.7): to one address all of it; of several, success is
    /// told once, by the queue, when the message is in it for all of them.
    private static func parameters(of recipient: EnvelopeRecipient, _ targets: [MailAddress]) -> RecipientParameters {
        var parameters = recipient.parameters
        if targets.count > 1 { parameters.notify?.remove(.success) }
        if parameters.notify != nil, parameters.originalRecipient == nil {
            let isUTF8 = recipient.address.needsUTF8
            parameters.originalRecipient = RecipientParameters.OriginalRecipient(
                type: isUTF8 ? "utf-8" : "rfc822",
                address: recipient.address.description
            )
        }
        return parameters
    }

    /// A list's owner is the sender of what goes to the list, and what the first sender wanted to hear ends with it
    /// (RFC 3461 §5.2.7.3). A report stays one.
    private func envelope(
        of job: DeliveryJob,
        for recipient: EnvelopeRecipient,
        to targets: [MailAddress],
        _ owner: MailAddress?
    ) -> SubmissionEnvelope {
        var sender = job.request.sender
        guard let owner, sender.path.address != nil else {
            let recipients = targets.map { EnvelopeRecipient($0, parameters: Self.parameters(of: recipient, targets)) }
            return SubmissionEnvelope(sender: self.sender(sender, to: targets), recipients: recipients)
        }
        sender.path = ReversePath(owner)
        sender.parameters.ret = nil
        sender.parameters.envelopeID = nil
        sender.parameters.variableSender = variesOwners ? .standard : nil
        return SubmissionEnvelope(sender: sender, recipients: targets.map { EnvelopeRecipient($0) })
    }

    /// What goes in front of the message. Other hosts can't be told otherwise that it belongs into Junk: they hear it by a
    /// field that their filters, or the readers', can look for.
    private static func added(_ request: DeliverRequest, _ recipient: EnvelopeRecipient) -> ByteBuffer {
        let mark = request.isQuarantined ? "X-Martlet-Quarantine: yes\r\n" : ""
        return ByteBuffer(string: "\(mark)Delivered-To: \(recipient.address)\r\n")
    }

    /// Returns when the message is in the queue for all targets, or for none. The request's key makes it idempotent.
    ///
    /// - Parameter owner: who hears of failures instead of the sender.
    /// - Returns: nil where nobody wants it any more and nothing was done.
    func forward(
        _ job: DeliveryJob,
        for recipient: EnvelopeRecipient,
        to targets: [MailAddress],
        owner: MailAddress? = nil
    ) async -> DeliveryResult? {
        // A report keeps its sender, who is nobody.
        let isOwned = owner != nil && job.request.sender.path.address != nil
        var envelope = envelope(of: job, for: recipient, to: targets, owner)
        envelope.terms = job.request.terms
        envelope.client = "local"
        envelope.submitter = job.request.submitter
        envelope.origin = job.request.key(of: recipient)
        // Among them may be the address itself, whose mailbox keeps a copy.
        envelope.isExpanded = true
        envelope.expandedFrom = recipient.address
        let submission: MessageSubmission
        do throws(SubmissionError) {
            submission = try await submissions.begin(envelope)
        } catch {
            return DeliveryResult(.delayed, .systemTrouble, "cannot forward now: \(error)")
        }
        let reader = job.message.reader()
        do throws(MessageSourceError) {
            while submission.earlyResult == nil, let piece = try await reader.next() {
                await submission.append(piece)
            }
        } catch {
            submission.abort()
            return DeliveryResult(.delayed, .systemTrouble, "cannot forward now: \(error)")
        }
        guard !job.isAbandoned else {
            submission.abort()
            return nil
        }
        let result = await submission.finish(
            added: Self.added(job.request, recipient),
            isQuarantined: job.request.isQuarantined
        )
        switch result {
        case .accepted(let id):
            let text = "forwarded to \(targets.count) addresses as \(id)"
            // The list has it, and that is all its sender hears (RFC 3461 §5.2.7.3).
            guard !isOwned else { return DeliveryResult(.delivered, .success, text) }
            return DeliveryResult(.expanded, .success, text, expanded: targets.count)
        case .deferred(let status, let text): return DeliveryResult(.delayed, status, "cannot forward now: \(text)")
        case .refused(let status, let text): return DeliveryResult(.failed, status, "cannot forward: \(text)")
        }
    }
}
