import IMAP
import NIOCore
import Network

extension MailboxSession {
    /// COMPRESS (RFC 4978): from the OK on, both directions are DEFLATE.
    func compress(_ tag: String, _ algorithm: String) async throws(ConnectionError) -> Next {
        guard algorithm == "DEFLATE" else { return fault(tag: tag, "DEFLATE is the one that is known") }
        guard compression == nil else {
            respond { $0.status(.no, tag: tag, code: .compressionActive, "already compressing") }
            return .command
        }
        // What stands there is either not compressed or was sent before the answer (RFC 4978 §3).
        guard connection.input.readableBytes == 0 else { return fault(tag: tag, "wait for the answer first") }
        let handler: CompressionHandler
        do throws(CompressionHandler.Fault) {
            handler = try CompressionHandler()
        } catch {
            respond { $0.status(.no, tag: tag, code: .limit, "no memory for that now") }
            return .command
        }
        respond { $0.status(.ok, tag: tag, "compressing from here on") }
        try await connection.flush()
        do {
            try connection.channel.pipeline.syncOperations.addHandler(handler, position: .first)
        } catch {
            throw .failed("\(error)")
        }
        compression = handler
        return .command
    }

    /// UNAUTHENTICATE (RFC 8437): the session is over, and the client goes back to the front with what it has said since.
    func unauthenticate(_ tag: String) async throws(ConnectionError) -> Next {
        guard mark != nil else { return fault(tag: tag, "unknown command") }
        selected = nil
        respond { $0.status(.ok, tag: tag, "logged out, but still here") }
        guard let compression else {
            try await connection.flush()
            return .giveBack(unheard: ByteBuffer())
        }
        // RFC 8437 §4.1: both sides are plain from here on.
        compression.endAtFlush()
        try await connection.flush()
        let rest = compression.takeRest()
        do {
            try await connection.channel.pipeline.syncOperations.removeHandler(compression).get()
        } catch {
            throw .failed("\(error)")
        }
        if !rest.isClosed { connection.reopenInput() }
        return .giveBack(unheard: rest.octets)
    }
}
