import DNS
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
                guard await sendInTurn(message) else { return }
                // Who takes a little now and then holds a place that others want.
                guard .now() < deadline else { return abandon() }
                // Others have their turn on the event loop, however fast the client is.
                await connection.eventLoop.letOthersGo()
            }
        } catch {
            // An end without the last SOA record tells the client that this is not all.
            abandon()
        }
    }
}
