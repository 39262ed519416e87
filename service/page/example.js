// The example of "Many texts": a table with other columns, as a shop or a help desk exports it.

export const EXAMPLE = `order,channel,text,stars
1041,e-mail,"Arrived in two days, works perfectly, and the battery lasts all week. Would buy it again!",5
1042,app,"The screen cracked on the first day, and nobody answers my calls.",1
1043,e-mail,When do you open on Sunday?,
1044,web,"Beautiful hotel and lovely staff, but the food was awful.",3
1045,app,It does what it says.,4
1046,web,"A gripping, beautifully acted film. I couldn't stop watching.",5
1047,e-mail,"Two dull hours that I will never get back.",1
1048,app,"Great, another charger that lasts a whole week.",1
`;
