import SMTP
import Spool

/// What a message's state file comes down to.
struct MessageProgress {
    /// Recipients with a final result, from 0.
    private(set) var final: Set<Int> = []
    /// Failed attempts of the others, and when the next one is due in milliseconds since 1970.
    private(set) var attempts: [Int: (count: Int, due: Int64)] = [:]
    /// The last words about each recipient.
    private(set) var texts: [Int: String] = [:]
    /// Those of them that failed, and of whom the sender doesn't know yet.
    private(set) var unreported: [Int: DeliveryResult] = [:]
    /// Recipients of whom the sender knows that they're late, or that all are.
    private var warned: Set<Int> = []
    private var isWarned = false

    /// Whether the sender knows that the message is late for a recipient, from 0.
    func isWarned(_ recipient: Int) -> Bool { isWarned || warned.contains(recipient) }

    /// Of a message that nobody has tried to deliver to the recipients of these jobs, who are all that are open.
    init(open jobs: some Sequence<DeliveryJob>, of envelope: MessageEnvelope) {
        final = Set(envelope.recipients.indices).subtracting(jobs.flatMap(\.recipients).map { Int($0) })
        for job in jobs where job.isWarned { warned.formUnion(job.recipients.map { Int($0) }) }
    }

    /// Notes attempts that failed, the next one of which is due.
    mutating func tried(_ recipient: Int, _ count: Int, _ text: String?) {
        attempts[recipient] = (count, 0)
        texts[recipient] = text
    }

    init(_ entries: [StateEntry] = []) {
        // Recipients with nothing left to tell anybody of.
        var settled: Set<Int> = []
        for entry in entries {
            let index = entry.recipient - 1
            switch entry.event {
            case .final(_, let status):
                final.insert(index)
                settled.insert(index)
                unreported[index] = nil
                texts[index] = "\(status) \(entry.text)"
            case .unreported(let status):
                // A power failure may have taken this line alone: then the start writes it again, behind the one that says
                // that the sender was told.
                guard !settled.contains(index) else { continue }
                final.insert(index)
                unreported[index] = DeliveryResult(.failed, status, entry.text)
            case .deferred(let count, let next, let status):
                attempts[index] = (count, next.multipliedReportingOverflow(by: 1000).partialValue)
                texts[index] = "\(status) \(entry.text)"
            case .warned:
                if entry.recipient == 0 { isWarned = true } else { warned.insert(index) }
            case .requeued: attempts = [:]
            case .added: break
            }
        }
    }
}
