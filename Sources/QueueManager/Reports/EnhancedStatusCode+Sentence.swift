import SMTP

extension EnhancedStatusCode {
    /// What it means, for somebody who has never heard of SMTP; nil where the code says nothing that helps (RFC 3463).
    var sentence: String? {
        let isFinal = statusClass == 5
        switch (subject, detail) {
        case (1, 1): return "There is no such address at this host."
        case (1, 2), (1, 10): return isFinal ? "The domain takes no mail." : "The domain can't be found at the moment."
        case (1, 3): return "The address is not written as an address has to be."
        case (1, 4): return "The address stands for more than one mailbox there."
        case (1, 6): return "The recipient has moved and left no new address."
        case (1, 7), (1, 8): return "The other side doesn't accept your address as a sender's."
        case (2, 1): return "The mailbox is disabled."
        case (2, 2): return "The mailbox is full."
        case (2, 3), (3, 4): return "The message is larger than the other side takes."
        case (2, 4): return "The mailing list can't be reached."
        case (3, 1): return "The other side has no room for mail at the moment."
        case (3, 2): return "The other side takes no mail at the moment."
        case (3, 3): return "The other side can't do what the message needs."
        case (3, 5): return "The other side is not set up for this mail."
        case (4, 1): return "The other side does not answer."
        case (4, 2): return "The connection to the other side broke."
        case (4, 3), (4, 4): return "No way to the other side can be found."
        case (4, 5): return "There is too much mail at the moment."
        case (4, 6): return "The message goes round in a circle."
        case (4, 7): return "It could not be delivered in time."
        case (5, 3): return "The message has more recipients than the other side takes."
        case (6, 0), (6, 1): return "The other side doesn't take messages of this form."
        case (6, 2), (6, 3): return "The message would have to be converted, and can't be."
        case (6, 7): return "The address needs mail with international addresses, which the other side doesn't take."
        case (7, 0), (7, 1):
            return isFinal ? "The other side refuses the message." : "The other side doesn't take the message yet."
        case (7, 2): return "You may not send to this mailing list."
        case (7, 8): return "The other side does not accept our login."
        case (7, 10), (7, 30): return "There is no way to the other side that is secure enough for this message."
        case (7, 20), (7, 21), (7, 22), (7, 23), (7, 24), (7, 26), (7, 29):
            return "The other side can't see that the message is from whom it says."
        case (7, 25): return "The other side takes no mail from our host."
        case (7, 27): return "The other side takes no mail from domains that take none."
        case (7, 28): return "The other side has had too much mail from us."
        default: return nil
        }
    }
}
