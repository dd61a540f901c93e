import Bus
import Logging
import NIOCore
import Network
import SMTP

extension AuthorityService {
    /// GREYLIST: whether mail may pass, or, with `accepted`, that it was taken after it had come back.
    func askGreylist(_ frame: Frame) -> Frame {
        let identities = frame.all("identity")
        let now = settings.clock()
        if frame["accepted"] == "yes" {
            greylist.accepted(identities: identities, now: now)
            return .ok(tag: frame["tag"], [])
        }
        guard let sender = frame["sender"], let recipient = frame["recipient"],
            let client = frame["client"].flatMap({ try? SocketAddress(ipAddress: $0, port: 0) })?.addressOctets
        else { return Self.rejection(frame, .invalidArguments, "client, sender and recipient are needed") }
        let answer = greylist.ask(
            client: client,
            sender: sender,
            recipient: recipient,
            identities: identities,
            now: now
        )
        switch answer {
        case .pass(let by): return .ok(tag: frame["tag"], [.init("by", by.rawValue)])
        case .wait(let seconds): return .ok(tag: frame["tag"], [.init("wait", String(seconds))])
        }
    }

    /// GREYLIST-PASS and GREYLIST-REMOVE.
    func editGreylist(_ frame: Frame, _ verb: Verb) -> Frame {
        guard let name = frame["name"] else { return Self.rejection(frame, .invalidArguments, "a name is needed") }
        guard verb == .greylistPass else {
            let count = greylist.remove(name)
            logger.notice("greylist: forgotten", metadata: ["name": "\(name)", "records": "\(count)"])
            return .ok(tag: frame["tag"], [.init("count", String(count))])
        }
        guard greylist.allow(name, now: settings.clock()) else {
            return Self.rejection(frame, .invalidArguments, "\(name) is neither a network nor a domain")
        }
        logger.notice("greylist: may pass", metadata: ["name": "\(name)"])
        return .ok(tag: frame["tag"], [])
    }
}
