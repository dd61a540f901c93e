import DNS
import LocalZones
import Logging
import NIOCore
import Network
import ZoneTransfer

extension StreamSession {
    /// Sends the messages of a transfer, each when the one before is on its way, so that no more is held than the client
    /// takes. Other answers may go between.
    func send(_ transfer: OutgoingTransfer) async {
        let deadline = NIODeadline.now() + transferTime
        do {
            while let message = try await transfer.next() {
                guard await sendInTurn(message) else { return fail(transfer, "the connection was lost") }
                // Who takes a little now and then holds a place that others want.
                guard .now() < deadline else {
                    fail(transfer, "it took longer than maximum-transfer-time")
                    return abandon()
                }
                // Others have their turn on the event loop, however fast the client is.
                await connection.eventLoop.letOthersGo()
            }
        } catch {
            // An end without the last SOA record tells the client that this is not all.
            fail(transfer, "\(error)")
            abandon()
        }
    }

    /// Says that a client didn't get the whole zone. A lost connection after the last message isn't seen here.
    private func fail(_ transfer: OutgoingTransfer, _ reason: String) {
        logger.warning(
            "transfer failed",
            metadata: [
                "zone": "\(transfer.zone?.description ?? "")", "client": "\(connection.remoteAddress?.ipAddress ?? "")",
                "reason": "\(reason)",
            ]
        )
    }
}
