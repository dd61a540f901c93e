import CoreMetrics
import IMAP
import MIME
import Mailbox
import NIOCore
import Network

extension MailboxSession {
    /// APPEND (RFC 3501 §6.3.11): the message goes to the disk as it comes.
    func append(_ command: AppendCommand) async throws(ConnectionError) -> Next {
        var refusal: Refusal?
        var message: (folder: any MailFolder, append: any MessageAppend)?
        do throws(Refusal) {
            message = try await startAppend(command)
        } catch {
            refusal = error
        }
        if command.isSynchronizing {
            if let refusal {
                respond { $0.status(.no, tag: command.tag, code: refusal.code, refusal.text) }
                return .command
            }
            respond { $0.continuation("go on") }
            try await connection.flush()
        }
        var missing = command.size
        while missing > 0 {
            if connection.input.readableBytes == 0 {
                guard try await connection.receive() else { return .close }
            }
            let count = min(missing, connection.input.readableBytes)
            guard let octets = connection.input.readSlice(length: count) else { continue }
            missing -= count
            guard refusal == nil, let append = message?.append else { continue }
            guard !octets.readableBytesView.contains(0) else {
                // Its file goes with it.
                message = nil
                refusal = Refusal(code: nil, text: "a message in a literal has no NUL")
                continue
            }
            do throws(Refusal) {
                try await onDisk { () throws(MailboxError) in try append.write(octets) }
            } catch {
                refusal = error
            }
        }
        guard let end = try await connection.readLine(maximum: 1024) else { return .close }
        guard end.readableBytes == 0 else { return fault(tag: command.tag, "MULTIAPPEND is not supported") }
        return try await finishAppend(command, message, refusal)
    }

    private func startAppend(
        _ command: AppendCommand
    ) async throws(Refusal) -> (any MailFolder, any MessageAppend) {
        guard command.size > 0 else { throw Refusal(code: nil, text: "the message is empty") }
        let folder = try await target(try folderName(command.mailbox))
        let append = try await onDisk { () throws(MailboxError) in try folder.append() }
        return (folder, append)
    }

    private func finishAppend(
        _ command: AppendCommand,
        _ message: (folder: any MailFolder, append: any MessageAppend)?,
        _ refusal: Refusal?
    ) async throws(ConnectionError) -> Next {
        do {
            if let refusal { throw refusal }
            guard let message else { throw Refusal(code: .serverBug, text: "nothing to append") }
            let (flags, keywords) = SystemFlags.split(command.flags)
            let date = command.date?.secondsSince1970
            let uid = try await onDisk { () throws(MailboxError) in
                try message.append.finish(flags: flags, keywords: keywords, internalDate: date)
            }
            counters.messagesAppended.increment()
            if selected != nil { try? await announceChanges(expunges: true) }
            let code = ResponseCode.appendUID(validity: message.folder.uidValidity, uid: uid)
            respond { $0.status(.ok, tag: command.tag, code: code, "appended") }
        } catch let refusal as Refusal {
            respond { $0.status(.no, tag: command.tag, code: refusal.code, refusal.text) }
        } catch {
            throw .failed("\(error)")
        }
        return .command
    }
}
