import Milter
import NIOCore
import SMTP

/// What a milter sends: packets alike in any pieces, and whatever it makes of a header leaves one that ends where it should.
let milterReplyTarget = FuzzTarget("milter-reply", maximum: 8192) { input in
    var whole = ByteBuffer(bytes: input)
    var pieces = ByteBuffer()
    var packets: [MilterPacket] = []
    var isBroken = false
    for octet in input where !isBroken {
        pieces.writeInteger(octet)
        do {
            while let packet = try MilterPacket.next(from: &pieces) { packets.append(packet) }
        } catch {
            isBroken = true
        }
    }
    var header = MilterHeader(Array("A: 1\r\nReceived: ours\r\nB: 2\r\n x\r\nb: 3\r\n\r\n".utf8), hiding: "received")
    for packet in packets {
        demand((try? MilterPacket.next(from: &whole)) == packet, "another packet as a whole")
        if let agreement = try? MilterAgreement(packet) {
            demand((2...6).contains(agreement.version), "version \(agreement.version)")
            demand(MilterActions.all.isSuperset(of: agreement.actions), "actions that do not exist")
        }
        guard let reply = try? MilterReply(packet) else { continue }
        switch reply {
        case .refuse(let refusal):
            demand(refusal.code.isTransient || refusal.code.isPermanent, "no refusal: \(refusal)")
            demand(refusal.lines.allSatisfy { !$0.utf8.contains { $0 == 13 || $0 == 10 } }, "line ends in \(refusal)")
        case .modification(.addHeader(let name, let value)): header.add(name, value, leadingSpace: packet.code & 1 == 0)
        case .modification(.insertHeader(let index, let name, let value)):
            header.insert(name, value, at: Int(index), leadingSpace: false)
        case .modification(.changeHeader(let number, let name, let value)):
            header.change(name, Int(number), value, leadingSpace: true)
        default: break
        }
    }
    let parts = header.parts(limit: 4096, hasBody: true)
    var octets = Array(parts.added.readableBytesView) + Array(parts.rest.readableBytesView)
    demand(octets.count == header.octetCount, "\(octets.count) octets, not \(header.octetCount)")
    // One empty line, at the end; no line end on its own.
    octets = [13, 10] + octets
    for index in octets.indices {
        if octets[index] == 10 { demand(index > 0 && octets[index - 1] == 13, "LF alone") }
        if octets[index] == 13 { demand(index + 1 < octets.count && octets[index + 1] == 10, "CR alone") }
        if octets[index...].starts(with: [13, 10, 13, 10]) {
            demand(index + 4 == octets.count || index == 0 && octets.count == 4, "the header ends before its end")
        }
    }
}
